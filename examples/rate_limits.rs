//! Rate limits: quotas, plans, and a sign-in that gets harder to guess.
//!
//! ```sh
//! cargo run -p larder --example rate_limits --all-features
//! ```

use std::sync::Arc;

use larder::rate_limit::Reason;
use larder::{MemoryRateLimits, Quota, RateLimiter, VirtualRuntime, minutes, seconds};

fn main() -> anyhow::Result<()> {
    // A clock that moves when it is told to; a program builds its limits by `MemoryRateLimits::new`.
    let clock = VirtualRuntime::seeded(0);
    clock.clone().block_on(async {
        quotas(&clock).await?;
        plans(&clock).await?;
        sign_in(&clock).await
    })
}

/// Two quotas, decided together: ten a second with bursts of twenty, and a hundred a minute.
async fn quotas(clock: &VirtualRuntime) -> anyhow::Result<()> {
    let limiter = RateLimiter::builder(MemoryRateLimits::builder().on(clock.clone()))
        .quota(Quota::per_second(10).burst(20))
        .quota(Quota::per_minute(100).sliding_window())
        .build()?;

    for _ in 0..20 {
        assert!(limiter.check("203.0.113.9").await?.is_allowed());
    }
    let refused = limiter.check("203.0.113.9").await?;
    assert_eq!(refused.refused_by(), Some("second"));
    let wait = refused.retry_after().unwrap_or_default();
    println!("the burst is used up; the next request passes in {wait:?}");
    clock.advance(wait);
    assert!(limiter.check("203.0.113.9").await?.is_allowed());

    // What was refused took nothing: 21 of 100 are gone.
    let left = limiter.peek("203.0.113.9").await?;
    let minute = left.quotas().find(|quota| quota.policy == "minute");
    assert_eq!(minute.map(|quota| quota.verdict.remaining), Some(79));
    Ok(())
}

/// Quotas that depend on the key, and requests that cost more than others.
async fn plans(clock: &VirtualRuntime) -> anyhow::Result<()> {
    let free: Arc<[Quota]> = [Quota::per_hour(60)].into();
    let paid: Arc<[Quota]> = [Quota::per_hour(5_000)].into();
    let limiter = RateLimiter::builder(MemoryRateLimits::builder().on(clock.clone()))
        .quotas_by(move |key| Arc::clone(if key.starts_with("paid:") { &paid } else { &free }))
        .build()?;

    let export = limiter.check_cost("paid:7", 500).await?;
    assert_eq!((export.limit(), export.remaining()), (Some(5_000), Some(4_500)));
    // More than the plan has at all: no wait will help.
    let export = limiter.check_cost("free:8", 500).await?;
    assert_eq!((export.is_allowed(), export.retry_after()), (false, None));

    // A request that failed by no fault of the client's is given back.
    let decision = limiter.check("free:8").await?;
    limiter.refund("free:8", decision.taken()).await?;
    assert_eq!(limiter.peek("free:8").await?.remaining(), Some(60));
    Ok(())
}

/// Five attempts in a quarter of an hour; whoever goes on is locked out for an hour.
async fn sign_in(clock: &VirtualRuntime) -> anyhow::Result<()> {
    let attempts = RateLimiter::builder(MemoryRateLimits::builder().on(clock.clone()))
        .namespace("sign-in")
        .quota(Quota::new(5, minutes(15)))
        .build()?;

    for _ in 0..5 {
        assert!(attempts.check("ada@example.com").await?.is_allowed());
    }
    if !attempts.check("ada@example.com").await?.is_allowed() {
        attempts.block("ada@example.com", minutes(60)).await?;
    }
    clock.advance(minutes(59));
    let refused = attempts.check("ada@example.com").await?;
    assert_eq!(refused.reason(), Reason::Blocked);
    assert_eq!(refused.retry_after(), Some(seconds(60)));

    // She proved by other means who she is.
    attempts.reset("ada@example.com").await?;
    assert!(attempts.check("ada@example.com").await?.is_allowed());
    Ok(())
}

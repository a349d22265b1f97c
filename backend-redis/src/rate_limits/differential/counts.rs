//! Counts as other programs keep them, against what these would say.
//!
//! Redis' own clock says when a key expires. So a window is moved by its expiry, and never to where
//! it might end during a step; a block is by the script's clock, which does what it wants.

use super::*;
use crate::rate_limits::RateLimitLayout;

/// A machine may be slow, and no window ends within this.
const SLACK: i64 = 60_000;

/// What stands in Redis: a number, and for how many milliseconds yet, where it expires.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Number {
    count: i64,
    left: Option<i64>,
}

/// A key, by the words of those who count under it.
#[derive(Debug, Default)]
struct Model {
    number: Option<Number>,
    /// In microseconds.
    blocked_until: u64,
}

impl Model {
    /// As express-rate-limit counts by the script of rate-limit-redis, and others by `INCR`.
    fn hit_elsewhere(&mut self, layout: RateLimitLayout, window: i64) {
        self.number = Some(match (layout, self.number) {
            (_, None) | (RateLimitLayout::Express, Some(Number { left: None, .. })) => {
                Number { count: 1, left: Some(window) }
            }
            (RateLimitLayout::Plain, Some(Number { count: 0, .. })) => {
                Number { count: 1, left: Some(window) }
            }
            (_, Some(it)) => Number { count: it.count + 1, ..it },
        });
    }

    /// What counts, in a window that is not longer than it is now.
    fn settle(&mut self, layout: RateLimitLayout, window: i64) -> (i64, i64) {
        let settled = self.number.and_then(|it| {
            let adopted = (layout == RateLimitLayout::Plain).then_some(window);
            let left = it.left.or(adopted)?.min(window);
            (it.count > 0).then_some((it.count, left))
        });
        self.number = settled.map(|(count, left)| Number { count, left: Some(left) });
        settled.unwrap_or((0, window))
    }

    fn check(&mut self, layout: RateLimitLayout, quota: &Quota, cost: u64, takes: bool) -> Said {
        let (limit, window) = (quota.limit() as i64, quota.window().as_millis() as i64);
        let (mut count, left) = self.settle(layout, window);
        let is_allowed = cost == 0 || i64::try_from(cost).is_ok_and(|it| it <= limit - count);
        if is_allowed && takes && cost > 0 {
            count += cost as i64;
            self.number = Some(Number { count, left: Some(left) });
        }
        Said { is_allowed, remaining: (limit - count).max(0) as u64 }
    }

    fn refund(&mut self, layout: RateLimitLayout, quota: &Quota, cost: u64) {
        let (count, left) = self.settle(layout, quota.window().as_millis() as i64);
        let count = count - i64::try_from(cost).unwrap_or(i64::MAX);
        if self.number.is_some() {
            self.number = (count > 0).then_some(Number { count, left: Some(left) });
        }
    }
}

#[derive(Debug, PartialEq)]
struct Said {
    is_allowed: bool,
    remaining: u64,
}

/// The step of another program, on the key itself.
async fn elsewhere(world: &mut World, layout: RateLimitLayout, key: &str, window: i64) {
    let script = match layout {
        // rate-limit-redis' begins a window where it finds no expiry.
        RateLimitLayout::Express => {
            "if redis.call('PTTL', KEYS[1]) <= 0 then \
             redis.call('SET', KEYS[1], 1, 'PX', ARGV[1]) else redis.call('INCR', KEYS[1]) end"
        }
        _ => "if redis.call('INCR', KEYS[1]) == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end",
    };
    let mut command = redis::cmd("EVAL");
    command.arg(script).arg(1).arg(key).arg(window);
    command.exec_async(&mut world.connection).await.unwrap();
}

async fn stands(world: &mut World, key: &str) -> Option<Number> {
    let mut ask = redis::pipe();
    ask.atomic().get(key).pttl(key);
    let (count, left): (Option<i64>, i64) = ask.query_async(&mut world.connection).await.unwrap();
    count.map(|count| Number { count, left: (left >= 0).then_some(left) })
}

/// A window that lasts long enough for a step, or is over.
async fn set(world: &mut World, key: &str, number: Option<Number>) {
    let mut command = redis::Cmd::new();
    match number {
        None => command.arg("DEL").arg(key),
        Some(Number { count, left: None }) => command.arg("SET").arg(key).arg(count),
        Some(Number { count, left: Some(left) }) => {
            command.arg("SET").arg(key).arg(count).arg("PX").arg(left)
        }
    };
    command.exec_async(&mut world.connection).await.unwrap();
}

async fn history(world: &mut World, layout: RateLimitLayout, seed: u64) {
    let mut rng = Rng::with_seed(seed);
    let keys = ["rl:a", "rl:{}b}"];
    let mut models = <[Model; 2]>::default();
    let mut now = Timestamp::from_micros(1_790_000_000_000_000 + rng.u64(..1_000_000));
    let limit = near(&mut rng, &[0, 1, 3, 12, 1_000, 1 << 40]);
    let mut quota = Quota::new(limit.max(1), minutes(5));
    let mut story = Vec::new();
    for _ in 0..rng.usize(5..40) {
        if rng.u8(..9) == 0 {
            let window = *rng.choice([minutes(5), hours(1), days(3)].iter()).unwrap();
            quota = Quota::new(quota.limit(), window);
        }
        now = later(&mut rng, now, std::slice::from_ref(&quota), &[]);
        world.set_clock(now).await;
        let (which, window) = (rng.usize(..2), quota.window().as_millis() as i64);
        let (key, model) = (keys[which], &mut models[which]);
        let cost = near(&mut rng, &[0, 1, 1, 2, quota.limit(), u64::MAX]);
        let kind = rng.u8(..24);
        story.push(format!("{now:?} {key} {quota:?}: {kind} of {cost}, {model:?}"));
        let told = || format!("{layout:?}, seed {seed}\n{}", story.join("\n"));
        let quotas = std::slice::from_ref(&quota);
        match kind {
            0..=9 => {
                let mut check = Check::new(key, quotas).cost(cost);
                check.takes = kind > 1;
                let said = world.limits.check(&check).await.unwrap();
                if model.blocked_until > now.as_micros() {
                    let left = Duration::from_micros(model.blocked_until - now.as_micros());
                    assert_eq!(said, Decision::blocked(left), "{}", told());
                } else {
                    let expected = model.check(layout, &quota, cost, check.takes);
                    let remaining = said.remaining().unwrap();
                    let said = Said { is_allowed: said.is_allowed(), remaining };
                    assert_eq!(said, expected, "{}", told());
                    lasts(stands(world, key).await, model, &told);
                }
            }
            10..=12 => {
                world.limits.refund(key, quotas, cost).await.unwrap();
                model.refund(layout, &quota, cost);
                lasts(stands(world, key).await, model, &told);
            }
            13 => {
                world.limits.reset(key, quotas).await.unwrap();
                *model = Model::default();
            }
            14 | 15 => {
                let time = *rng.choice([seconds(2), days(3), Duration::ZERO].iter()).unwrap();
                world.limits.block(key, time).await.unwrap();
                model.blocked_until = match time.is_zero() {
                    true => 0,
                    false => (now + time).as_micros(),
                };
            }
            16..=19 => {
                elsewhere(world, layout, key, window).await;
                model.hit_elsewhere(layout, window);
            }
            // Time goes by; or an expiry, or more, is lost.
            20..=22 => {
                let passed = rng.i64(0..window * 2);
                model.number = model.number.and_then(|it| {
                    let left = it.left.map(|left| left - passed);
                    left.is_none_or(|it| it > 2 * SLACK).then_some(Number { left, ..it })
                });
                set(world, key, model.number).await;
            }
            _ => {
                let count = rng.i64(-2..20);
                model.number = Some(Number { count, left: None });
                set(world, key, model.number).await;
            }
        }
    }
    world.clear().await;
}

/// That Redis has the model's number, for as long; and never one without an expiry.
fn lasts(stands: Option<Number>, model: &mut Model, told: &impl Fn() -> String) {
    let (Some(is), Some(should)) = (stands, model.number) else {
        assert_eq!(stands, model.number, "{}", told());
        return;
    };
    assert_eq!(is.count, should.count, "{}", told());
    let (Some(left), Some(most)) = (is.left, should.left) else {
        panic!("no expiry: {is:?} for {should:?}, {}", told());
    };
    assert!((most - SLACK..=most).contains(&left), "{left} of {most} ms: {}", told());
    // Time has gone by.
    model.number = stands;
}

#[tokio::test]
async fn whole_numbers_are_counted_as_elsewhere() {
    let server = RedisServer::start();
    let mut worlds = JoinSet::new();
    for (number, layout) in
        [RateLimitLayout::Plain, RateLimitLayout::Express].into_iter().cycle().take(4).enumerate()
    {
        let url = format!("{}{number}", server.url());
        worlds.spawn(async move {
            let mut world = World::new(url).await;
            world.limits = world.limits.clone().layout(layout);
            for seed in 0..150 {
                history(&mut world, layout, seed * 4 + number as u64).await;
            }
        });
    }
    worlds.join_all().await;
}

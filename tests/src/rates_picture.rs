//! docs/rate-limits.svg: how each rule of a rate limit admits the same requests, drawn by asking the
//! rules.

use std::fmt::Write as _;
use std::time::Duration;

use larder_core::rate_limit::{Check, KeyState};
use larder_core::{Quota, Timestamp, millis, seconds};

/// Some requests, one after the other.
struct Requests {
    from: Duration,
    count: u32,
    apart: Duration,
}

impl Requests {
    fn times(&self) -> impl Iterator<Item = Duration> {
        let Self { from, count, apart } = *self;
        (0..count).map(move |n| from + apart * n)
    }
}

/// What every rule is asked.
const REQUESTS: [Requests; 5] = [
    Requests { from: millis(0), count: 1, apart: millis(0) },
    Requests { from: millis(8_000), count: 14, apart: millis(100) },
    Requests { from: millis(11_000), count: 14, apart: millis(100) },
    Requests { from: millis(22_000), count: 14, apart: millis(100) },
    Requests { from: millis(25_000), count: 10, apart: millis(500) },
];

const END: Duration = seconds(30);

/// How long what is under way takes, where leases count it.
const WORK: Duration = millis(2_500);

struct Panel {
    title: &'static str,
    quota: Quota,
}

fn panels() -> [Panel; 4] {
    let ten = || Quota::new(10, seconds(10));
    [
        Panel { title: "Fixed window: 10 in 10 s", quota: ten() },
        Panel { title: "Sliding window: 10 in 10 s", quota: ten().sliding_window() },
        Panel { title: "GCRA: 1 a second, a burst of 5", quota: Quota::per_second(1).burst(5) },
        Panel {
            title: "Concurrency: 5 at once, each under way for 2.5 s",
            quota: Quota::concurrent(5, seconds(30)),
        },
    ]
}

/// What a rule did with the requests.
struct Answers {
    /// When each came, and whether it was allowed; as in [`REQUESTS`].
    groups: Vec<Vec<(Duration, bool)>>,
    /// From when on how much was left.
    left: Vec<(Duration, u64)>,
}

const STEP: Duration = millis(50);

fn ask(quota: &Quota) -> Answers {
    let at = |time: Duration| Timestamp::from_millis(1_000_000) + time;
    let quotas = [quota.clone()];
    let mut key = KeyState::default();
    let (mut lease, mut under_way) = (0, Vec::new());
    let mut groups: Vec<_> = REQUESTS.iter().map(|_| Vec::new()).collect();
    let mut left = Vec::new();
    let mut time = Duration::ZERO;
    while time <= END {
        under_way.retain(|(until, lease)| {
            let is_over = *until <= time;
            if is_over {
                key.release(at(time), &quotas, *lease);
            }
            !is_over
        });
        for (requests, answers) in REQUESTS.iter().zip(&mut groups) {
            for request in requests.times().filter(|request| *request == time) {
                lease += 1;
                let decision = key.check(at(time), &Check::new("a", &quotas).lease(lease));
                answers.push((request, decision.is_allowed()));
                under_way.extend(decision.lease().map(|lease| (time + WORK, lease)));
            }
        }
        let remaining = key.check(at(time), &Check::new("a", &quotas).peek()).remaining();
        let remaining = remaining.unwrap_or_default();
        if left.last().is_none_or(|(_, last)| *last != remaining) {
            left.push((time, remaining));
        }
        time += STEP;
    }
    Answers { groups, left }
}

const WIDTH: f64 = 800.0;
const MARGIN: f64 = 40.0;
const PANEL: f64 = 128.0;
/// How high a panel's curve is.
const CURVE: f64 = 50.0;

fn x(time: Duration) -> f64 {
    MARGIN + (WIDTH - 2.0 * MARGIN) * time.as_secs_f64() / END.as_secs_f64()
}

/// The picture.
///
/// # Errors
///
/// None: a text takes everything.
pub fn svg() -> Result<String, std::fmt::Error> {
    let panels = panels();
    let height = 70.0 + PANEL * panels.len() as f64 + 20.0;
    let mut out = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" font-family="sans-serif" font-size="13" fill="#222">
<title>How each rule admits the same requests</title>
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
<text x="{MARGIN}" y="26" font-size="16" font-weight="bold">How each rule admits the same requests</text>
<g font-size="12"><rect x="{MARGIN}" y="38" width="3" height="14" fill="#1a7f37"/><text x="{}" y="50">allowed</text>
<rect x="{}" y="38" width="3" height="14" fill="#cf222e"/><text x="{}" y="50">refused</text>
<rect x="{}" y="38" width="14" height="14" fill="#c6dbef"/><text x="{}" y="50">what remains</text></g>
"##,
        MARGIN + 8.0,
        MARGIN + 80.0,
        MARGIN + 88.0,
        MARGIN + 160.0,
        MARGIN + 180.0,
    );
    for (number, panel) in panels.iter().enumerate() {
        let top = 70.0 + PANEL * number as f64;
        draw(&mut out, panel, top)?;
    }
    let bottom = 70.0 + PANEL * panels.len() as f64;
    for second in (0..=END.as_secs()).step_by(5) {
        let x = x(seconds(second));
        writeln!(
            out,
            r#"<text x="{x:.1}" y="{bottom:.1}" text-anchor="middle" font-size="11">{second} s</text>"#
        )?;
    }
    out.push_str("</svg>\n");
    Ok(out)
}

fn draw(out: &mut String, Panel { title, quota }: &Panel, top: f64) -> std::fmt::Result {
    let answers = ask(quota);
    let (floor, capacity) = (top + 24.0 + CURVE, quota.capacity() as f64);
    let y = |left: u64| floor - CURVE * left as f64 / capacity;

    writeln!(out, r#"<text x="{MARGIN}" y="{:.1}" font-weight="bold">{title}</text>"#, top + 12.0)?;
    for (left, name) in [(0, "0".to_owned()), (quota.capacity(), quota.capacity().to_string())] {
        let (x, y) = (MARGIN - 6.0, y(left) + 4.0);
        writeln!(
            out,
            r#"<text x="{x}" y="{y:.1}" text-anchor="end" font-size="11">{name}</text>"#
        )?;
    }
    write!(out, r##"<path fill="#c6dbef" stroke="#4292c6" d="M{MARGIN} {floor:.1}"##)?;
    for (time, left) in &answers.left {
        write!(out, "H{:.1}V{:.1}", x(*time), y(*left))?;
    }
    writeln!(out, r#"H{:.1}V{floor:.1}Z"/>"#, x(END))?;

    for group in &answers.groups {
        for (time, is_allowed) in group {
            let (x, y) = (x(*time), floor + 4.0);
            let color = if *is_allowed { "#1a7f37" } else { "#cf222e" };
            writeln!(
                out,
                r#"<rect x="{x:.1}" y="{y:.1}" width="1.6" height="14" fill="{color}"/>"#
            )?;
        }
        let allowed = group.iter().filter(|(_, is_allowed)| *is_allowed).count();
        if let Some((first, _)) = group.first() {
            let (x, y) = (x(*first), floor + 31.0);
            let of = group.len();
            writeln!(
                out,
                r#"<text x="{x:.1}" y="{y:.1}" font-size="11">{allowed} of {of}</text>"#
            )?;
        }
    }
    Ok(())
}

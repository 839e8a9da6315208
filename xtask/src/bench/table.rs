//! Medians, and the table they are shown in.

use std::fmt::Write as _;
use std::time::Duration;

use super::runner::Costs;

/// One variant in one round; milliseconds, and jobs a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    wall: f64,
    cpu: f64,
    burst_rate: f64,
    burst_cpu: f64,
}

impl Sample {
    pub(crate) fn of(sequence: &Costs, burst: &Costs) -> Self {
        let cpu = |costs: &Costs| median(costs.each.iter().map(|cost| milliseconds(cost.cpu)));
        Self {
            wall: median(sequence.each.iter().map(|cost| milliseconds(cost.wall))),
            cpu: cpu(sequence),
            burst_rate: per_second(burst.each.len(), burst.all),
            burst_cpu: cpu(burst),
        }
    }
}

/// A row for each variant; the first is what the others are compared with, round by round.
pub(crate) fn table(rows: &[(&str, &[Sample])]) -> String {
    let mut text = format!(
        "| {:<11} | {:<22} | {:<13} | {:<20} | {:<13} | {:<20} | {:<20} |\n",
        "", "wall ms", "wall", "client CPU ms", "client CPU", "jobs/s, 16 in flight", "their client CPU ms"
    );
    let line = [11, 22, 13, 20, 13, 20, 20].map(|width| "-".repeat(width + 2)).join("|");
    let _ = writeln!(text, "|{line}|");
    let base = rows.first().map_or(&[][..], |(_, samples)| samples);
    for (name, samples) in rows {
        let _ = writeln!(
            text,
            "| {name:<11} | {:<22} | {:<13} | {:<20} | {:<13} | {:<20} | {:<20} |",
            spread(samples, |sample| sample.wall, 2),
            against(samples, base, |sample| sample.wall),
            spread(samples, |sample| sample.cpu, 2),
            against(samples, base, |sample| sample.cpu),
            spread(samples, |sample| sample.burst_rate, 0),
            spread(samples, |sample| sample.burst_cpu, 2),
        );
    }
    text
}

/// `ratio, difference` to what it is compared with, each the median of the rounds.
fn against(samples: &[Sample], base: &[Sample], of: impl Fn(&Sample) -> f64) -> String {
    let pairs = || samples.iter().zip(base).map(|(sample, base)| (of(sample), of(base)));
    let ratio = median(pairs().map(|(sample, base)| sample / base));
    let added = median(pairs().map(|(sample, base)| sample - base));
    format!("x{ratio:.2} {added:+.2}")
}

/// `median (least-greatest)`.
fn spread(samples: &[Sample], of: impl Fn(&Sample) -> f64, digits: usize) -> String {
    let values = || samples.iter().map(&of);
    let (least, greatest) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    format!("{:.digits$} ({least:.digits$}-{greatest:.digits$})", median(values()))
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn per_second(count: usize, duration: Duration) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from) / duration.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_middle_of_an_even_number_lies_between_two() {
        assert!((median([4.0, 1.0, 3.0, 2.0].into_iter()) - 2.5).abs() < f64::EPSILON);
        assert!(median(std::iter::empty()).is_nan());
    }
}

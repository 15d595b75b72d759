//! The numbers of a run and the Markdown table that shows them: medians, the spread, the ratio.

use std::io::Write;

use anyhow::{Context, Result};

use super::Options;

/// Which direction is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// One line of the table.
#[derive(Debug)]
struct Row {
    label: String,
    unit: &'static str,
    better: Better,
    /// One list for each system.
    values: Vec<Vec<f64>>,
    /// Whether one of the values was taken while others used the machine.
    disturbed: bool,
}

/// All lines, in the order in which they first came up.
#[derive(Debug)]
pub struct Table {
    systems: Vec<String>,
    rows: Vec<Row>,
    client_cpu: Vec<String>,
}

impl Table {
    /// An empty table of these systems; the first is the base of the ratios.
    #[must_use]
    pub const fn new(systems: Vec<String>) -> Self {
        Self { systems, rows: Vec::new(), client_cpu: Vec::new() }
    }

    /// Adds a value of system number `place` to the line `label`.
    pub fn add(&mut self, place: usize, label: &str, (unit, better): (&'static str, Better), value: f64) {
        let row = match self.rows.iter().position(|row| row.label == label && row.unit == unit) {
            Some(at) => self.rows.get_mut(at),
            None => {
                let values = vec![Vec::new(); self.systems.len()];
                self.rows.push(Row { label: label.to_owned(), unit, better, values, disturbed: false });
                self.rows.last_mut()
            }
        };
        if let Some(values) = row.and_then(|row| row.values.get_mut(place)) {
            values.push(value);
        }
    }

    /// Marks every line of that label: others used the machine meanwhile.
    pub fn mark_disturbed(&mut self, label: &str) {
        for row in self.rows.iter_mut().filter(|row| row.label == label) {
            row.disturbed = true;
        }
    }

    /// Notes what the load generator itself used.
    pub fn note_client(&mut self, note: String) {
        self.client_cpu.push(note);
    }

    /// Writes the table and what it was taken on.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write(&self, options: &Options, out: &mut dyn Write) -> Result<()> {
        let write = |out: &mut dyn Write| -> std::io::Result<()> {
            let cores = std::thread::available_parallelism().map_or(0, usize::from);
            writeln!(
                out,
                "{cores} cores shared by servers and load generator; {} members, fsync on, {}-byte values, \
                 {} keys; {} repetitions, interleaved; {} clients a connection, {} client thread(s).\n",
                super::system::MEMBERS,
                options.value_size,
                options.keys,
                options.repetitions,
                options.clients_per_connection,
                options.client_threads,
            )?;
            let titles = self.systems.join(" | ");
            writeln!(out, "| | unit | {titles} | ratio | |")?;
            writeln!(out, "|---|---|{}---|---|", "---|".repeat(self.systems.len()))?;
            for row in &self.rows {
                writeln!(out, "{}", row.line())?;
            }
            writeln!(
                out,
                "\nMedian (min–max). The ratio is the second system's median over the first's; ↑ more is"
            )?;
            writeln!(
                out,
                "better, ↓ less is better. * Others used more than a quarter of a core meanwhile."
            )?;
            for note in &self.client_cpu {
                writeln!(out, "{note}")?;
            }
            Ok(())
        };
        write(out).context("writing the table")
    }
}

impl Row {
    fn line(&self) -> String {
        let cells: Vec<String> = self.values.iter().map(|values| cell(values)).collect();
        let ratio = match self.values.as_slice() {
            [base, other] => ratio(base, other),
            _ => None,
        };
        let ratio = ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}×"));
        let arrow = match self.better {
            Better::Higher => "↑",
            Better::Lower => "↓",
        };
        let mark = if self.disturbed { " *" } else { "" };
        format!("| {}{mark} | {} | {} | {ratio} | {arrow} |", self.label, self.unit, cells.join(" | "))
    }
}

fn ratio(base: &[f64], other: &[f64]) -> Option<f64> {
    let (base, other) = (median(base)?, median(other)?);
    (base > 0.0).then(|| other / base)
}

fn cell(values: &[f64]) -> String {
    let Some(middle) = median(values) else { return "–".to_owned() };
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if values.len() == 1 {
        return number(middle);
    }
    format!("{} ({}–{})", number(middle), number(low), number(high))
}

/// The middle value; of an even number, the mean of the two in the middle.
fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if !sorted.len().is_multiple_of(2) {
        return Some(upper);
    }
    let lower = *sorted.get((sorted.len() / 2).checked_sub(1)?)?;
    Some(f64::midpoint(lower, upper))
}

/// Three digits that matter, thousands apart.
fn number(value: f64) -> String {
    if value >= 1000.0 {
        let whole = format!("{value:.0}");
        let (head, tail) = whole.split_at(whole.len() - 3);
        return format!("{head},{tail}");
    }
    if value >= 100.0 {
        return format!("{value:.0}");
    }
    if value >= 10.0 { format!("{value:.1}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_with_the_digits_that_matter() {
        for (value, text) in [(0.4321, "0.43"), (12.34, "12.3"), (214.4, "214"), (26_684.2, "26,684")] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_median_ignores_the_order() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_line_shows_medians_spread_ratio_and_direction() {
        let mut table = Table::new(vec!["one".to_owned(), "two".to_owned()]);
        for (place, value) in [(0, 100.0), (0, 300.0), (0, 200.0), (1, 400.0)] {
            table.add(place, "put, 1 client", ("/s", Better::Higher), value);
        }
        table.mark_disturbed("put, 1 client");
        let line = table.rows[0].line();
        assert_eq!(line, "| put, 1 client * | /s | 200 (100–300) | 400 | 2.00× | ↑ |");
    }
}

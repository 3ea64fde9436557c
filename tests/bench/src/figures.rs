//! Named numbers of a round, and their medians over several.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Numbers by name. A dot in a name separates two levels of the JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Figures(BTreeMap<String, f64>);

impl Figures {
    /// Sets a figure. A value that is not a finite number (0 / 0) is left out.
    pub(super) fn set(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.0.insert(name.to_owned(), value);
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Returns the figures whose names begin with this level and a dot.
    pub(super) fn below<'a>(&'a self, level: &'a str) -> impl Iterator<Item = (&'a str, f64)> + 'a {
        let of = move |name: &'a String| name.strip_prefix(level)?.strip_prefix('.');
        self.0.iter().filter_map(move |(name, value)| Some((of(name)?, *value)))
    }

    /// Returns the median of each figure, over the rounds that have it.
    pub(super) fn medians(rounds: &[Self]) -> Self {
        let mut all: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (name, value) in rounds.iter().flat_map(|round| &round.0) {
            all.entry(name).or_default().push(*value);
        }
        let median = |(name, values): (&str, Vec<f64>)| Some((name.to_owned(), median(values)?));
        Self(all.into_iter().filter_map(median).collect())
    }

    pub(super) fn json(&self) -> Value {
        let mut root = Map::new();
        for (name, value) in &self.0 {
            match name.split_once('.') {
                None => {
                    root.insert(name.clone(), (*value).into());
                }
                Some((level, name)) => {
                    let level = root.entry(level).or_insert_with(|| Value::Object(Map::new()));
                    level[name] = (*value).into();
                }
            }
        }
        Value::Object(root)
    }
}

/// Returns the middle value, or the mean of the two middle values.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = *values.get(middle)?;
    Some(if values.len().is_multiple_of(2) { (values[middle - 1] + upper) / 2.0 } else { upper })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_odd_round_does_not_move_the_median() {
        let round = |rate: f64, p50: Option<f64>| {
            let mut figures = Figures::default();
            figures.set("sagasPerSecond", rate);
            if let Some(p50) = p50 {
                figures.set("latencyMillis.p50", p50);
            }
            figures
        };
        let rounds = [round(900.0, Some(4.0)), round(3.0, None), round(1_000.0, Some(2.0))];
        let medians = Figures::medians(&rounds);
        assert_eq!(medians.get("sagasPerSecond"), Some(900.0));
        assert_eq!(medians.get("latencyMillis.p50"), Some(3.0), "over those that have it");
        assert_eq!(medians.json()["latencyMillis"]["p50"], 3.0);
        assert_eq!(Figures::medians(&[]), Figures::default());
    }

    #[test]
    fn what_is_no_number_is_no_figure() {
        let mut figures = Figures::default();
        figures.set("a", f64::NAN);
        figures.set("b", f64::INFINITY);
        assert_eq!(figures, Figures::default());
        assert_eq!(median(vec![]), None);
    }
}

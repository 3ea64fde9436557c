//! Reads a system's own metrics. Parses only the parts of Prometheus' text format that it needs.

use std::collections::BTreeMap;

use anyhow::Context as _;

/// The value of each series (name with labels), summed over all processes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Samples(BTreeMap<String, f64>);

impl Samples {
    /// Scrapes all processes.
    pub(super) async fn from_all(urls: &[String]) -> anyhow::Result<Self> {
        let mut all = Self::default();
        for url in urls {
            let answer = reqwest::get(url).await.and_then(reqwest::Response::error_for_status);
            let text = async { answer?.text().await }.await;
            all.read(&text.with_context(|| format!("reading {url}"))?);
        }
        Ok(all)
    }

    fn read(&mut self, text: &str) {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        for (series, value) in lines.filter_map(|line| line.rsplit_once(' ')) {
            if let Ok(value) = value.parse::<f64>() {
                *self.0.entry(series.to_owned()).or_default() += value;
            }
        }
    }

    /// Returns the increase since an earlier scrape.
    pub(super) fn since(&self, before: &Self) -> Self {
        let was = |series: &str| before.0.get(series).copied().unwrap_or_default();
        Self(self.0.iter().map(|(series, now)| (series.clone(), now - was(series))).collect())
    }

    /// Returns a counter's sums, grouped by one of its labels.
    pub(super) fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for (series, value) in &self.0 {
            let Some((found, labels)) = series.split_once('{') else { continue };
            if found != name {
                continue;
            }
            let wanted = format!("{label}=\"");
            let which = labels.split_once(&wanted).and_then(|(_, rest)| rest.split_once('"'));
            if let Some((which, _)) = which {
                *sums.entry(which.to_owned()).or_default() += value;
            }
        }
        sums
    }

    /// Returns the value of a series, summed over its labels.
    pub(super) fn sum(&self, name: &str) -> f64 {
        let is_it = |series: &str| series.split('{').next() == Some(name);
        self.0.iter().filter(|(series, _)| is_it(series)).map(|(_, value)| value).sum()
    }

    /// Returns a histogram's mean, or `None` if it has no values.
    pub(super) fn mean(&self, name: &str) -> Option<f64> {
        let count = self.sum(&format!("{name}_count"));
        (count > 0.0).then(|| self.sum(&format!("{name}_sum")) / count)
    }

    /// Returns a histogram's means, grouped by one of its labels.
    pub(super) fn means(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let counts = self.by(&format!("{name}_count"), label);
        let sums = self.by(&format!("{name}_sum"), label);
        let mean = |(which, count): (String, f64)| {
            (count > 0.0).then(|| (which.clone(), sums.get(&which).copied().unwrap_or(0.0) / count))
        };
        counts.into_iter().filter_map(mean).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "# HELP saga_messages_published_total x
saga_messages_published_total{route=\"command\"} 10
saga_messages_published_total{route=\"event\"} 5
saga_reply_batch_members_sum 4
saga_reply_batch_members_count 4
";
    const AFTER: &str = "saga_messages_published_total{route=\"command\"} 30
saga_messages_published_total{route=\"event\"} 6
saga_reply_batch_members_sum 44
saga_reply_batch_members_count 14
saga_reply_batch_members_bucket{le=\"+Inf\"} 14
saga_participant_batch_members_sum{participant=\"order\"} 12
saga_participant_batch_members_count{participant=\"order\"} 3
nonsense
";

    #[test]
    fn what_was_added_is_told_by_label_and_as_means() {
        let (mut before, mut after) = (Samples::default(), Samples::default());
        before.read(BEFORE);
        after.read(AFTER);
        let added = after.since(&before);
        let routes = added.by("saga_messages_published_total", "route");
        assert_eq!((routes["command"], routes["event"]), (20.0, 1.0));
        assert_eq!(added.sum("saga_messages_published_total"), 21.0);
        assert_eq!(added.mean("saga_reply_batch_members"), Some(4.0));
        assert_eq!(added.means("saga_participant_batch_members", "participant")["order"], 4.0);
        assert_eq!(added.mean("saga_admission_batch_members"), None);
    }

    #[test]
    fn several_processes_are_one_system() {
        let mut both = Samples::default();
        both.read(BEFORE);
        both.read(BEFORE);
        assert_eq!(both.sum("saga_messages_published_total"), 30.0);
    }
}

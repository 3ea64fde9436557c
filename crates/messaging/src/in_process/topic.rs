//! Patterns of event keys, which match as on a topic exchange of RabbitMQ.

/// A pattern: words between dots, where `*` matches any one word and `#` any number of words.
pub(super) struct Pattern {
    words: Vec<String>,
}

impl Pattern {
    pub(super) fn new(pattern: &str) -> Self {
        Self { words: words(pattern).map(str::to_owned).collect() }
    }

    pub(super) fn matches(&self, key: &str) -> bool {
        let key: Vec<&str> = words(key).collect();
        matches(&self.words, &key)
    }
}

fn matches(pattern: &[String], key: &[&str]) -> bool {
    match pattern.split_first() {
        None => key.is_empty(),
        Some((word, rest)) if word == "#" => {
            (0..=key.len()).any(|skipped| matches(rest, &key[skipped..]))
        }
        Some((word, rest)) => match key.split_first() {
            Some((first, others)) => (word == "*" || word == first) && matches(rest, others),
            None => false,
        },
    }
}

/// Splits a key at its dots. An empty key has no words, rather than one empty word.
fn words(key: &str) -> impl Iterator<Item = &str> {
    key.split('.').filter(move |_| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_word_and_a_hash_any_number() {
        for (pattern, key, expected) in [
            ("order.confirmed", "order.confirmed", true),
            ("order.confirmed", "order.rejected", false),
            ("order.confirmed", "order", false),
            ("order", "order.confirmed", false),
            ("order.*", "order.confirmed", true),
            ("order.*", "order", false),
            ("order.*", "order.item.added", false),
            ("*.confirmed", "order.confirmed", true),
            ("*", "order", true),
            ("*", "", false),
            ("#", "", true),
            ("#", "order.confirmed", true),
            ("order.#", "order", true),
            ("order.#", "order.item.added", true),
            ("order.#", "orders.item", false),
            ("#.added", "order.item.added", true),
            ("#.added", "order.item", false),
            ("order.#.added", "order.added", true),
            ("*.#.*", "order", false),
            ("*.#.*", "order.added", true),
            ("", "", true),
            ("", "order", false),
            ("order.*", "order.", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(key), expected, "{pattern:?} {key:?}");
        }
    }
}

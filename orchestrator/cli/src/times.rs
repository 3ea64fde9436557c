//! Formats instants and durations for people.

use std::time::Duration;

const MICROS_A_SECOND: i64 = 1_000_000;
const SECONDS_A_DAY: i64 = 86_400;

/// Formats microseconds since 1970 as "2026-11-24 04:12:52.123 UTC". 0 means "never" and gives "-".
#[must_use]
pub fn show(micros: i64) -> String {
    if micros == 0 {
        return "-".to_owned();
    }
    let seconds = micros.div_euclid(MICROS_A_SECOND);
    let millis = micros.rem_euclid(MICROS_A_SECOND) / 1000;
    let (year, month, day) = date(seconds.div_euclid(SECONDS_A_DAY));
    let second = seconds.rem_euclid(SECONDS_A_DAY);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{millis:03} UTC")
}

/// Formats the time between two instants as "+1.234 s".
#[must_use]
pub fn since(start_micros: i64, micros: i64) -> String {
    let millis = micros.saturating_sub(start_micros) / 1000;
    let sign = if millis < 0 { "-" } else { "+" };
    let millis = millis.unsigned_abs();
    format!("{sign}{}.{:03} s", millis / 1000, millis % 1000)
}

/// Formats a duration as "1.500 s".
pub(crate) fn span(span: Duration) -> String {
    format!("{}.{:03} s", span.as_secs(), span.subsec_millis())
}

/// Converts a day, counted from 1970-01-01, to its date (Gregorian, proleptic). Years are counted
/// from March, so that the leap day is the last day of its year and one formula gives the lengths
/// of all months.
fn date(day: i64) -> (i64, i64, i64) {
    const DAYS_IN_400_YEARS: i64 = 146_097;
    const FROM_MARCH_OF_YEAR_0_TO_1970: i64 = 719_468;
    let day = day + FROM_MARCH_OF_YEAR_0_TO_1970;
    let era = day.div_euclid(DAYS_IN_400_YEARS);
    let day = day.rem_euclid(DAYS_IN_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = year + era * 400;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_in_utc() {
        for (micros, shown) in [
            (0, "-"),
            (1, "1970-01-01 00:00:00.000 UTC"),
            (-1, "1969-12-31 23:59:59.999 UTC"),
            (951_782_400_000_000, "2000-02-29 00:00:00.000 UTC"),
            (1_709_251_199_999_000, "2024-02-29 23:59:59.999 UTC"),
            (1_735_689_599_000_000, "2024-12-31 23:59:59.000 UTC"),
            (1_795_493_572_123_456, "2026-11-24 04:12:52.123 UTC"),
            (4_107_542_400_000_000, "2100-03-01 00:00:00.000 UTC"),
        ] {
            assert_eq!(show(micros), shown);
        }
        let _ = (show(i64::MAX), show(i64::MIN));
    }

    #[test]
    fn spans_are_shown_in_seconds() {
        assert_eq!(since(1_000_000, 2_234_567), "+1.234 s");
        assert_eq!(since(2_000_000, 1_999_000), "-0.001 s");
        assert_eq!(span(Duration::from_millis(61_500)), "61.500 s");
    }
}

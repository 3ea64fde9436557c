//! Reads secrets from the environment, or from files that the environment names. Container engines
//! provide secrets as such files.

use std::{fmt, fs, path::Path};

/// Suffix of a variable whose value is the path of a file with the secret.
const FILE: &str = "_FILE";

/// A text that must never be printed. Its `Debug` output does not contain it.
#[derive(Clone)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(redacted)")
    }
}

/// Reads the secret `name`, from the variable of that name or from the file that `NAME_FILE` names.
/// A line end at the end of the file, as editors leave it, is removed.
///
/// # Errors
/// The mistake, worded to follow the variable's name in a sentence. It never contains a value.
pub(crate) fn read(
    get: &dyn Fn(&str) -> Option<String>,
    name: &str,
) -> Result<Option<String>, String> {
    let in_file = format!("{name}{FILE}");
    match (get(name), get(&in_file)) {
        (value, None) => Ok(value),
        (None, Some(path)) => from_file(Path::new(&path))
            .map(Some)
            .map_err(|why| format!("is to come from {in_file}, but {path:?} {why}")),
        (Some(_), Some(_)) => Err(format!("and {in_file} are both set: use one of them")),
    }
}

fn from_file(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"))?;
    match text.trim_end() {
        "" => Err("is empty".to_owned()),
        secret => Ok(secret.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(text: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text).expect("written");
        file
    }

    /// Reads the secret PASSWORD in an environment of these two variables.
    fn password(value: Option<&str>, path: Option<&str>) -> Result<Option<String>, String> {
        let get = |name: &str| match name {
            "PASSWORD" => value.map(str::to_owned),
            "PASSWORD_FILE" => path.map(str::to_owned),
            other => panic!("nobody asks for {other}"),
        };
        read(&get, "PASSWORD")
    }

    #[test]
    fn a_secret_is_the_variable_or_the_content_of_its_file() {
        let file = file(b"from the file \n");
        let path = file.path().to_str();
        assert_eq!(password(None, None), Ok(None));
        assert_eq!(password(Some("plain"), None), Ok(Some("plain".to_owned())));
        assert_eq!(password(None, path), Ok(Some("from the file".to_owned())));
    }

    #[test]
    fn two_sources_are_a_mistake_that_shows_neither() {
        let file = file(b"s3cret");
        let why = password(Some("pl4in"), file.path().to_str()).expect_err("both");
        assert_eq!(why, "and PASSWORD_FILE are both set: use one of them");
    }

    #[test]
    fn a_file_that_says_nothing_is_a_mistake_that_names_it() {
        for (text, said) in [(&b" \n"[..], "is empty"), (&b"s3cret\xff"[..], "cannot be read")] {
            let file = file(text);
            let path = file.path().to_str().expect("UTF-8");
            let why = password(None, Some(path)).expect_err("no secret");
            assert!(why.contains(path) && why.contains(said), "{why}");
            assert!(!why.contains("s3cret"), "{why}");
        }
        let why = password(None, Some("/nowhere/at/all")).expect_err("no file");
        assert!(why.contains("/nowhere/at/all"), "{why}");
    }
}

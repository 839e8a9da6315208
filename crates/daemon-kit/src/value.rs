//! Values of settings: read from what a layer gives, checked, and shown as a file would give them.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use config::{Value, ValueKind};

const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A value as some layer gives it.
#[derive(Clone, Debug)]
pub struct Raw(pub(crate) Value);

impl Raw {
    /// A value from a flag or a variable.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self(Value::new(None, text))
    }

    /// The value as text that is not empty, and that was UTF-8 where it came from (see [`crate::layers::variable`]).
    ///
    /// # Errors
    /// What would be right.
    pub fn as_text(&self) -> Result<String, String> {
        match &self.0.kind {
            ValueKind::String(text) if text.is_empty() => Err("must not be empty".to_owned()),
            ValueKind::String(text) if text.contains(char::REPLACEMENT_CHARACTER) => Err("must be UTF-8".to_owned()),
            ValueKind::String(text) => Ok(text.clone()),
            _ => Err("must be a text".to_owned()),
        }
    }

    /// The value as a whole number of at least `least`.
    ///
    /// # Errors
    /// What would be right.
    pub fn as_number(&self, least: u64) -> Result<u64, String> {
        let number = self.number().filter(|&number| number >= least);
        number.ok_or_else(|| format!("must be a whole number from {least}"))
    }

    /// The value as a whole number of this range.
    ///
    /// # Errors
    /// What would be right.
    pub fn as_number_in(&self, range: RangeInclusive<u64>) -> Result<u64, String> {
        let number = self.number().filter(|number| range.contains(number));
        number.ok_or_else(|| format!("must be a whole number from {} to {}", range.start(), range.end()))
    }

    /// The value as a whole number of this range; `None` is `auto`.
    ///
    /// # Errors
    /// What would be right.
    pub fn as_number_or_auto(&self, range: RangeInclusive<u64>) -> Result<Option<u64>, String> {
        match &self.0.kind {
            ValueKind::String(text) if text == "auto" => Ok(None),
            _ => self.as_number_in(range).map(Some).map_err(|problem| format!("{problem}, or `auto`")),
        }
    }

    /// The value as a number of bytes, at least one: `1000`, `64KiB`, `100MiB`, `1GiB`.
    ///
    /// # Errors
    /// What would be right.
    pub fn as_size(&self) -> Result<u64, String> {
        let size = match &self.0.kind {
            ValueKind::String(text) => size_of(text),
            _ => self.number(),
        };
        let wrong = || "must be a size above zero such as `1000` (bytes), `64KiB`, `100MiB` or `1GiB`".to_owned();
        size.filter(|&size| size > 0).ok_or_else(wrong)
    }

    fn number(&self) -> Option<u64> {
        match &self.0.kind {
            ValueKind::I64(number) => u64::try_from(*number).ok(),
            ValueKind::U64(number) => Some(*number),
            ValueKind::String(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// The value as true or false.
    ///
    /// # Errors
    /// What would be right.
    pub fn as_bool(&self) -> Result<bool, String> {
        match &self.0.kind {
            ValueKind::Boolean(value) => Ok(*value),
            ValueKind::String(text) => match text.as_str() {
                "1" | "true" | "yes" | "on" => Ok(true),
                "" | "0" | "false" | "no" | "off" => Ok(false),
                _ => Err("must be `true` or `false`".to_owned()),
            },
            _ => Err("must be `true` or `false`".to_owned()),
        }
    }

    /// The value as a duration above zero.
    ///
    /// # Errors
    /// What would be right.
    pub fn as_duration(&self) -> Result<Duration, String> {
        let wrong =
            || "must be a duration above zero and of at most a year, such as `500ms`, `3m` or `1m30s`".to_owned();
        self.duration().filter(|duration| !duration.is_zero()).ok_or_else(wrong)
    }

    /// The value as a duration that may be none at all, `0s`.
    ///
    /// # Errors
    /// What would be right.
    pub fn as_grace(&self) -> Result<Duration, String> {
        self.duration()
            .ok_or_else(|| "must be a duration of at most a year, such as `0s`, `500ms`, `3m` or `1m30s`".to_owned())
    }

    fn duration(&self) -> Option<Duration> {
        // Longer ones overflow the clock when they are added to it.
        let bearable = |duration: &Duration| *duration <= A_YEAR;
        humantime::parse_duration(&self.as_text().ok()?).ok().filter(bearable)
    }

    /// The value as `HOST:PORT`.
    ///
    /// # Errors
    /// What would be right.
    pub fn as_address(&self) -> Result<String, String> {
        let wrong = || "must be HOST:PORT, for example `localhost:50051`".to_owned();
        let text = self.as_text().map_err(|_| wrong())?;
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        if host.is_empty() || port.parse::<u16>().is_err() { Err(wrong()) } else { Ok(text) }
    }

    /// The value as a list of texts: an array of a file, or a text with `separator` between the parts; empty parts are
    /// left out.
    ///
    /// # Errors
    /// What would be right.
    pub fn as_list(&self, separator: char) -> Result<Vec<String>, String> {
        let texts = match &self.0.kind {
            ValueKind::Array(values) => {
                values.iter().map(|value| Self(value.clone()).as_text()).collect::<Result<_, _>>()?
            }
            ValueKind::String(text) if text.is_empty() => Vec::new(),
            ValueKind::String(_) => vec![self.as_text()?],
            _ => return Err("must be a text or a list of texts".to_owned()),
        };
        let parts = texts.iter().flat_map(|text| text.split(separator));
        Ok(parts.filter(|part| !part.is_empty()).map(str::to_owned).collect())
    }

    /// The value as names with values: a table of a file, or a text of `name=value` with `,` between; sorted by name.
    ///
    /// # Errors
    /// What would be right.
    pub fn as_table(&self) -> Result<Vec<(String, Self)>, String> {
        let wrong = || "must be a table, or `name=value` with `,` between".to_owned();
        let mut pairs: Vec<(String, Self)> = match &self.0.kind {
            ValueKind::Table(table) => table.iter().map(|(name, value)| (name.clone(), Self(value.clone()))).collect(),
            ValueKind::String(text) => {
                let parts = text.split(',').filter(|part| !part.is_empty());
                let pair = |part: &str| part.split_once('=').map(|(name, value)| (name.to_owned(), Self::text(value)));
                parts.map(pair).collect::<Option<_>>().ok_or_else(wrong)?
            }
            _ => return Err(wrong()),
        };
        pairs.sort_by(|(left, _), (right, _)| left.cmp(right));
        Ok(pairs)
    }

    /// The value as an absolute path, without trailing or doubled slashes, which would make another path of it.
    ///
    /// # Errors
    /// What would be right.
    pub fn as_path(&self) -> Result<PathBuf, String> {
        absolute(&self.as_text()?).ok_or_else(|| "must be an absolute path".to_owned())
    }

    /// The value as one or more absolute paths, without trailing or doubled slashes.
    ///
    /// # Errors
    /// What would be right.
    pub fn as_mounts(&self) -> Result<Vec<PathBuf>, String> {
        let paths: Option<Vec<PathBuf>> = self.as_list(':')?.iter().map(|path| absolute(path)).collect();
        let wrong = || "must be one or more absolute paths, with `:` between them".to_owned();
        paths.filter(|paths| !paths.is_empty()).ok_or_else(wrong)
    }
}

fn absolute(path: &str) -> Option<PathBuf> {
    path.starts_with('/').then(|| Path::new(path).components().collect())
}

const UNITS: [(&str, u64); 4] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

fn size_of(text: &str) -> Option<u64> {
    let in_unit = |(unit, bytes): &(&str, u64)| Some((text.strip_suffix(unit)?, *bytes));
    let (number, unit) = UNITS.iter().find_map(in_unit).unwrap_or((text, 1));
    number.trim_end().parse::<u64>().ok()?.checked_mul(unit)
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A text as a file would give it: in quotes, with what they would not survive escaped.
#[must_use]
pub fn quoted(text: impl fmt::Display) -> String {
    let mut quoted = String::from("\"");
    for letter in text.to_string().chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            letter if letter.is_control() => quoted += &format!("\\u{:04X}", u32::from(letter)),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// Texts as a file would give them.
#[must_use]
pub fn quoted_list(texts: impl IntoIterator<Item = impl fmt::Display>) -> String {
    let quoted: Vec<String> = texts.into_iter().map(quoted).collect();
    format!("[{}]", quoted.join(", "))
}

/// A duration as a file would give it.
#[must_use]
pub fn shown_duration(duration: Duration) -> String {
    quoted(humantime::format_duration(duration))
}

/// A size as [`Raw::as_size`] reads it, in the largest unit that gives a whole number.
#[must_use]
pub fn size_text(size: u64) -> String {
    let fits = |(_, bytes): &&(&str, u64)| size.is_multiple_of(*bytes);
    match UNITS.iter().find(fits) {
        Some((unit, bytes)) if size > 0 => format!("{}{unit}", size / bytes),
        _ => size.to_string(),
    }
}

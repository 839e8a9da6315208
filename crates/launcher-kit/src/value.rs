//! Raw values of settings, and what they mean. Each refusal says what would be right.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

const A_YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A raw value: text from the environment or a flag, or something typed from a file.
pub(crate) enum Value {
    Text(OsString),
    Toml(toml::Value),
}

impl Value {
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => text.to_str(),
            Self::Toml(value) => value.as_str(),
        }
    }
}

pub(crate) fn positive(value: &Value) -> Result<u32, &'static str> {
    let number = match value {
        Value::Toml(toml::Value::Integer(number)) => u32::try_from(*number).ok(),
        _ => value.text().and_then(|text| text.parse().ok()),
    };
    number.filter(|&number| number > 0).ok_or("must be a whole number from 1")
}

pub(crate) fn nice(value: &Value) -> Result<i32, &'static str> {
    let number = match value {
        Value::Toml(toml::Value::Integer(number)) => i32::try_from(*number).ok(),
        _ => value.text().and_then(|text| text.parse().ok()),
    };
    number.filter(|number| (-20..=19).contains(number)).ok_or("must be a whole number from -20 to 19")
}

pub(crate) fn duration(value: &Value) -> Result<Duration, &'static str> {
    let wrong = "must be a duration such as `500ms`, `3m` or `1m30s`, of at most a year";
    let parsed = value.text().and_then(|text| humantime::parse_duration(text).ok());
    // Longer ones overflow the clock when they are added to it.
    parsed.filter(|&duration| duration <= A_YEAR).ok_or(wrong)
}

/// A number of bytes: `512MiB`, `2GiB`, `0`.
pub(crate) fn size(value: &Value) -> Result<u64, &'static str> {
    let wrong = "must be a size such as `512MiB` or `2GiB`";
    if let Value::Toml(toml::Value::Integer(number)) = value {
        return u64::try_from(*number).map_err(|_| wrong);
    }
    let text = value.text().ok_or(wrong)?;
    let unit = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let shift = match &text[unit..] {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(wrong),
    };
    text[..unit].parse().ok().and_then(|number: u64| number.checked_mul(1 << shift)).ok_or(wrong)
}

pub(crate) fn boolean(value: &Value) -> Result<bool, &'static str> {
    match value {
        Value::Toml(toml::Value::Boolean(boolean)) => Some(*boolean),
        _ => match value.text() {
            Some("1" | "true" | "yes" | "on") => Some(true),
            Some("" | "0" | "false" | "no" | "off") => Some(false),
            _ => None,
        },
    }
    .ok_or("must be `true` or `false`")
}

pub(crate) fn address(value: &Value) -> Result<String, &'static str> {
    let wrong = "must be HOST:PORT, for example `localhost:50051`";
    let text = value.text().ok_or(wrong)?;
    let (host, port) = text.rsplit_once(':').ok_or(wrong)?;
    if host.is_empty() || port.parse::<u16>().is_err() {
        return Err(wrong);
    }
    Ok(text.to_owned())
}

pub(crate) fn text(value: &Value) -> Result<String, &'static str> {
    value.text().filter(|text| !text.is_empty()).map(str::to_owned).ok_or("must be text, not empty")
}

pub(crate) fn path(value: &Value) -> Result<PathBuf, &'static str> {
    let text = match value {
        Value::Text(text) => text.clone(),
        Value::Toml(value) => OsString::from(value.as_str().ok_or("must be a path")?),
    };
    if text.is_empty() { Err("must be a path, not empty") } else { Ok(PathBuf::from(text)) }
}

/// A list: an array of a file, or text with `:` between its parts, as in `PATH`.
pub(crate) fn list(value: &Value) -> Result<Vec<OsString>, &'static str> {
    match value {
        Value::Toml(toml::Value::Array(items)) => {
            let texts = items.iter().map(|item| item.as_str().map(OsString::from));
            texts.collect::<Option<_>>().ok_or("must be a list of texts")
        }
        Value::Toml(value) => Ok(split(value.as_str().ok_or("must be a text or a list of texts")?.as_ref())),
        Value::Text(text) => Ok(split(text)),
    }
}

pub(crate) fn split(text: &OsStr) -> Vec<OsString> {
    let parts = text.as_bytes().split(|&byte| byte == b':').filter(|part| !part.is_empty());
    parts.map(|part| OsString::from_vec(part.to_vec())).collect()
}

pub(crate) fn mounts(value: &Value) -> Result<Vec<PathBuf>, &'static str> {
    let mounts = paths(list(value)?);
    if mounts.is_empty() || mounts.iter().any(|mount| !mount.is_absolute()) {
        return Err("must be one or more absolute paths, with `:` between them");
    }
    // As daemons read theirs: it is by its name that a worker knows the mount of a job.
    Ok(mounts.iter().map(|mount| mount.components().collect()).collect())
}

pub(crate) fn names(list: Vec<OsString>) -> Vec<String> {
    list.iter().map(|name| name.to_string_lossy().into_owned()).collect()
}

pub(crate) fn paths(list: Vec<OsString>) -> Vec<PathBuf> {
    list.into_iter().map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_binary_unit_or_none() {
        let text = |text: &str| size(&Value::Text(text.into()));

        assert_eq!(text("512MiB"), Ok(512 << 20));
        assert_eq!(text("0"), Ok(0));
        assert_eq!(size(&Value::Toml(toml::Value::Integer(7))), Ok(7));
        for wrong in ["", "MiB", "1.5GiB", "2GB", "-1", "99999999TiB"] {
            assert!(text(wrong).is_err(), "{wrong}");
        }
    }
}

//! The ways in which one program is executed.

use std::fmt;

/// How a program is executed. The first is the oracle for all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// As it is.
    Original,
    /// Rewritten, and polled at every safe point, but never stopped.
    Rewritten,
    /// Rewritten, stopped at every so many polls, and resumed each time.
    Resumed(u64),
}

impl Way {
    /// Is the rewritten module executed?
    #[must_use]
    pub fn is_rewritten(self) -> bool {
        self != Self::Original
    }

    /// Number of polls from one stop to the next, if the guest is stopped at all.
    #[must_use]
    pub fn stops_every(self) -> Option<u64> {
        match self {
            Self::Original | Self::Rewritten => None,
            Self::Resumed(every) => Some(every),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Original => write!(f, "original"),
            Self::Rewritten => write!(f, "rewritten"),
            Self::Resumed(every) => write!(f, "resumed:{every}"),
        }
    }
}

impl std::str::FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || {
            format!("`{text}` is no way to execute: give original, rewritten, resumed or resumed:K")
        };
        match text {
            "original" => Ok(Self::Original),
            "rewritten" => Ok(Self::Rewritten),
            "resumed" => Ok(Self::Resumed(1)),
            _ => {
                let every = text.strip_prefix("resumed:").ok_or_else(unknown)?;
                match every.parse() {
                    Ok(every) if every > 0 => Ok(Self::Resumed(every)),
                    _ => Err(unknown()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Way;

    #[test]
    fn text_and_back() {
        for way in [
            Way::Original,
            Way::Rewritten,
            Way::Resumed(1),
            Way::Resumed(17),
        ] {
            assert_eq!(way.to_string().parse(), Ok(way));
        }
        assert_eq!("resumed".parse(), Ok(Way::Resumed(1)));
        assert!("resumed:0".parse::<Way>().is_err());
        assert!("backwards".parse::<Way>().is_err());
    }
}

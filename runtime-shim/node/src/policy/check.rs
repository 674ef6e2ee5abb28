//! What cannot be said by types alone.

use std::collections::BTreeSet;
use std::path::Path;

use super::Policy;

/// A link over TCP makes three handshakes at once.
const HANDSHAKES_MIN: u32 = 4;

impl Policy {
    pub(super) fn check(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for entry in &self.peers {
            let name = &entry.name;
            if !seen.insert((name, entry.fingerprint)) {
                return Err(format!(
                    "two [[peer]]s have the name `{name}` and the same or no fingerprint: make them one"
                ));
            }
            if let Some(address) = &entry.address
                && !is_address(address)
            {
                return Err(format!(
                    "the address of [[peer]] `{name}` is `{address}`: host and port are expected, such as \
                     \"{name}.example:7333\""
                ));
            }
        }
        for (guest, directory) in &self.directories {
            if !guest.starts_with('/') {
                return Err(format!(
                    "[directories] has `{guest}`: guests' names of directories begin with `/`"
                ));
            }
            is_plain(&directory.path).then_some(()).ok_or_else(|| {
                format!(
                    "the path of \"{guest}\" in [directories] is `{}`: it has to begin with `/` and have no `..`",
                    directory.path.display()
                )
            })?;
        }
        let handshakes = self.rate.handshakes.get();
        if handshakes < HANDSHAKES_MIN {
            return Err(format!(
                "[rate] has handshakes = {handshakes}: at least {HANDSHAKES_MIN} are needed, since a link over TCP takes three"
            ));
        }
        Ok(())
    }
}

fn is_address(address: &str) -> bool {
    address.rsplit_once(':').is_some_and(|(host, port)| {
        let is_bracketed = host.starts_with('[') && host.ends_with(']');
        !host.is_empty()
            && (is_bracketed || !host.contains(':'))
            && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

fn is_plain(path: &Path) -> bool {
    let climbs = path
        .components()
        .any(|part| part == std::path::Component::ParentDir);
    path.is_absolute() && !climbs
}

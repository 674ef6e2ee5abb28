//! Finding a file that is open again by name, after someone other than the guest has renamed it.

use std::os::unix::fs::DirEntryExt;

use cap_std::fs::{Dir, MetadataExt};

use super::Preopen;
use super::fd_table::Place;
use super::types::FileStat;

/// How many directory entries are looked at.
const ENTRIES_MAX: u32 = 100_000;

/// The place below the preopened directories at which the file that `stat` describes lies now.
pub(super) fn find(preopens: &[Preopen], stat: &FileStat) -> Option<Place> {
    let mut entries_left = ENTRIES_MAX;
    (0..).zip(preopens).find_map(|(preopen, opened)| {
        let path = find_below(opened.dir.as_deref()?, stat, &mut entries_left)?;
        Some(Place {
            preopen,
            path,
            follow: false,
        })
    })
}

fn find_below(top: &Dir, stat: &FileStat, entries_left: &mut u32) -> Option<String> {
    let mut waiting = vec![(top.try_clone().ok()?, String::new())];
    while let Some((dir, path)) = waiting.pop() {
        for entry in dir.entries().ok()?.flatten() {
            *entries_left = entries_left.checked_sub(1)?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let path = match path.as_str() {
                "" => name,
                above => format!("{above}/{name}"),
            };
            if entry.ino() == stat.inode {
                let is_it = |found: cap_std::fs::Metadata| {
                    (found.dev(), found.ino()) == (stat.device, stat.inode)
                };
                if dir.symlink_metadata(entry.file_name()).is_ok_and(is_it) {
                    return Some(path);
                }
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir())
                && let Ok(below) = entry.open_dir()
            {
                waiting.push((below, path));
            }
        }
    }
    None
}

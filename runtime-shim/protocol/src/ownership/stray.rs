//! What a node says to messages of migrations that it has no machine for any more, from its journal alone.

use super::{Holding, Record};
use crate::ids::{Epoch, MigrationId};
use crate::message::{DestinationMessage, SourceMessage};
use crate::offer::Refusal;

/// The answer of a node that was a migration's source to what the destination says, if there is one to give. A journal that says
/// `Committing` is no stray: it needs `source::Source::recover`. What a source says to a node without a machine is
/// answered by `destination::Destination::recover`.
#[must_use]
pub fn answer_as_source(
    record: &Record,
    migration: MigrationId,
    epoch: Epoch,
    message: &DestinationMessage,
) -> Option<SourceMessage> {
    let asks = matches!(
        message,
        DestinationMessage::Running | DestinationMessage::Durable
    );
    match &record.holding {
        _ if !asks => None,
        Holding::Gone(transfer) if transfer.migration == migration => Some(SourceMessage::Released),
        _ if record.epoch > epoch => Some(SourceMessage::Superseded(record.epoch)),
        _ => None,
    }
}

/// May a job arrive in this epoch where the journal says `record`?
///
/// # Errors
/// The node owns the job, or may have given it away, or knows of a newer epoch.
pub fn may_arrive(record: Option<&Record>, epoch: Epoch) -> Result<(), Refusal> {
    match record {
        None => Ok(()),
        Some(record) => match record.holding {
            Holding::Owned { .. } | Holding::Arrived(_) | Holding::Committing(_) => {
                Err(Refusal::OwnedHere {
                    known: record.epoch,
                })
            }
            Holding::Gone(_) | Holding::Fenced(_) if record.epoch >= epoch => {
                Err(Refusal::StaleEpoch {
                    offered: epoch,
                    known: record.epoch,
                })
            }
            Holding::Gone(_) | Holding::Fenced(_) => Ok(()),
        },
    }
}

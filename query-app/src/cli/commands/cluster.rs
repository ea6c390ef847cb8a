//! `cluster`: changes who belongs to the cluster, and who leads.

use clap::{Args, Subcommand};
use store_wire::client::Target;
use store_wire::message::ClusterChange;

use crate::cli::{CommandError, Context};
use crate::failure::UsageError;
use crate::format::nodes;

/// Arguments of `cluster`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  query-app cluster remove 3             # for good: its id is never used again
  query-app cluster transfer-leader 2
  query-app cluster drain 1              # before maintenance of that host

Needs an identity of the role operator. Prints the members afterwards. A node joins by itself:
`store-node run --join` on its host; asking again for a change that was made succeeds.")]
pub(crate) struct ClusterArgs {
    #[command(subcommand)]
    change: ChangeArgs,
}

#[derive(Debug, Subcommand)]
enum ChangeArgs {
    /// Expects a node, which is then started with --join; not needed for it to be let in
    #[command(after_help = "Example:\n  query-app cluster add 4=store-4.example:7400")]
    Add {
        /// The id, never used before, and where the node will take connections
        #[arg(value_name = "ID=HOST[:PORT]")]
        expected: String,
    },
    /// Takes a node out for good, dead or alive
    #[command(after_help = "Example:\n  query-app cluster remove 3")]
    Remove(Node),
    /// Gives a learner its vote; one that joined gets it by itself once it has caught up
    #[command(after_help = "Example:\n  query-app cluster promote 4")]
    Promote(Node),
    /// Lets another voter lead
    #[command(after_help = "Example:\n  query-app cluster transfer-leader 2")]
    TransferLeader(Node),
    /// Lets a node take no more writes, nor lead, until it is started again; it serves reads on
    #[command(after_help = "Example:\n  query-app cluster drain 1")]
    Drain(Node),
}

#[derive(Debug, Args)]
struct Node {
    /// The node
    #[arg(value_name = "ID")]
    id: u64,
}

impl ClusterArgs {
    pub(crate) fn checked(self) -> Result<ClusterChange, UsageError> {
        Ok(match self.change {
            ChangeArgs::Add { expected } => checked(&expected)?,
            ChangeArgs::Remove(Node { id }) => ClusterChange::Remove { id },
            ChangeArgs::Promote(Node { id }) => ClusterChange::Promote { id },
            ChangeArgs::TransferLeader(Node { id }) => ClusterChange::TransferLeader { id },
            ChangeArgs::Drain(Node { id }) => ClusterChange::Drain { id },
        })
    }
}

/// Reads `ID=HOST[:PORT]`.
fn checked(text: &str) -> Result<ClusterChange, UsageError> {
    let refused = || {
        let reason = format!("{text:?} is not ID=HOST[:PORT], such as 4=store-4.example:7400");
        UsageError::new("ID", reason)
    };
    let (id, address) = text.split_once('=').ok_or_else(refused)?;
    let id = id.trim().parse().ok().filter(|id| *id > 0);
    let address: Target = address.trim().parse().map_err(|_| refused())?;
    Ok(ClusterChange::Add {
        id: id.ok_or_else(refused)?,
        address: address.to_string(),
    })
}

pub(crate) async fn run(change: ClusterChange, context: Context<'_>) -> Result<(), CommandError> {
    let changed = context.client.change(&change, &context.terms).await?;
    let id = change.node();
    context.output.note(&match change {
        ClusterChange::Add { address, .. } => format!("node {id} is expected at {address}"),
        ClusterChange::Remove { .. } => format!("node {id} was removed"),
        ClusterChange::Promote { .. } => format!("node {id} votes"),
        ClusterChange::TransferLeader { .. } => format!("node {id} leads"),
        ClusterChange::Drain { .. } => format!("node {id} is draining"),
    });
    let members = nodes::members(&changed, context.format);
    context.output.write(&members)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expected_node_is_an_id_and_an_address() {
        let address = "store-4:7400".to_owned();
        let change = ClusterChange::Add { id: 4, address };
        assert_eq!(checked("4=store-4"), Ok(change));
        for bad in ["4", "=a", "0=a", "x=a", "4=", "4=a b", "4=a:b"] {
            assert!(checked(bad).is_err(), "{bad:?}");
        }
    }
}

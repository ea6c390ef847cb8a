//! `status`: how the nodes of the cluster are.

use clap::Args;

use crate::cli::{CommandError, Context};
use crate::format::nodes;

/// Arguments of `status`: none of its own.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  query-app status --target 10.0.0.1,10.0.0.2,10.0.0.3

Each member of the cluster is asked for itself; lag is how many committed entries it has not
applied. Fails only when no node answers.")]
pub(crate) struct StatusArgs {}

pub(crate) async fn run(context: Context<'_>) -> Result<(), CommandError> {
    let reports = context.client.cluster(&context.terms).await?;
    context
        .output
        .write(&nodes::cluster(&reports, context.format))
}

//! `serve`: the HTTP API.

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::Args;

use crate::cli::{CommandError, Context};
use crate::failure::UsageError;
use crate::serve::{serve, shutdown_signal};

/// Arguments of `serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  query-app serve --http 127.0.0.1:8080 --target 10.0.0.1,10.0.0.2,10.0.0.3 --identity reader
  curl 'http://127.0.0.1:8080/api/v1/range?match=plant/**&from=-1h&every=1m&agg=min,max'

Prints `listening http=ADDR` once it takes requests; SIGTERM lets those under way finish.
--consistency, --node and --timeout are what a request gets that does not say otherwise.")]
pub(crate) struct ServeArgs {
    /// Where to listen; port 0 takes a free one
    #[arg(
        long,
        env = "TIDEMARK_HTTP",
        value_name = "ADDR",
        default_value = "127.0.0.1:8080"
    )]
    http: String,
}

impl ServeArgs {
    pub(crate) fn checked(&self) -> Result<SocketAddr, UsageError> {
        self.http.parse().map_err(|_| {
            let reason = format!(
                "{:?} is not an address and port, such as 127.0.0.1:8080",
                self.http
            );
            UsageError::new("http", reason)
        })
    }
}

pub(crate) async fn run(http: SocketAddr, context: Context<'_>) -> Result<(), CommandError> {
    let shutdown = shutdown_signal().context("cannot listen for signals")?;
    let listener = tokio::net::TcpListener::bind(http)
        .await
        .with_context(|| format!("cannot listen on http address {http}"))?;
    let address = listener
        .local_addr()
        .context("the listener has no address")?;
    let line = format!("listening http={address}\n");
    context.output.write(line.as_bytes())?;
    serve(listener, context.client.clone(), context.terms, shutdown)
        .await
        .context("the HTTP server failed")?;
    Ok(())
}

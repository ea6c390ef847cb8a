//! `serve`: the HTTP API.

use std::net::SocketAddr;

use anyhow::Context as _;
use clap::Args;
use store_wire::message::ErrorCode;

use crate::api::{Admission, service};
use crate::cli::{CommandError, Context};
use crate::failure::UsageError;
use crate::serve::{Limits, serve, shutdown_signal};

/// Arguments of `serve`.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  query-app serve --http 127.0.0.1:8080 --target 10.0.0.1,10.0.0.2,10.0.0.3 --identity reader
  query-app serve --http 0.0.0.0:8080 --auth tokens --identity operator
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
    /// Whom to answer: whoever reaches the address, or holders of a token (`query-app token`), for which
    /// the identity must be an operator's
    #[arg(
        long,
        env = "TIDEMARK_AUTH",
        value_enum,
        default_value_t,
        value_name = "WHOM"
    )]
    auth: Auth,
}

#[derive(Debug, Clone, Copy, Default, clap::ValueEnum)]
enum Auth {
    #[default]
    None,
    Tokens,
}

/// A checked `serve`.
pub(crate) struct ServeCommand {
    http: SocketAddr,
    admission: Admission,
}

impl ServeArgs {
    pub(crate) fn checked(&self) -> Result<ServeCommand, UsageError> {
        let http = self.http.parse().map_err(|_| {
            let reason = format!(
                "{:?} is not an address and port, such as 127.0.0.1:8080",
                self.http
            );
            UsageError::new("http", reason)
        })?;
        let admission = match self.auth {
            Auth::None => Admission::Anybody,
            Auth::Tokens => Admission::TokenHolders,
        };
        Ok(ServeCommand { http, admission })
    }
}

pub(crate) async fn run(command: ServeCommand, context: Context<'_>) -> Result<(), CommandError> {
    let ServeCommand { http, admission } = command;
    let (client, terms) = (context.client.clone(), context.terms);
    match admission {
        Admission::Anybody if !http.ip().is_loopback() => context.output.note(&format!(
            "warning: whoever reaches {http} may do all that this identity may: use --auth tokens, or put a \
             proxy before it that asks who they are"
        )),
        Admission::Anybody | Admission::Callers => {}
        Admission::TokenHolders => {
            // Said now rather than to the first who asks. A store that is not there yet may come.
            match client.may_read_tokens(&terms).await {
                Err(failure) if failure.code == ErrorCode::Forbidden => return Err(failure.into()),
                Err(failure) => {
                    let note = format!("warning: tokens cannot be read yet: {failure}");
                    context.output.note(&note);
                }
                Ok(()) => {}
            }
        }
    }
    let shutdown = shutdown_signal().context("cannot listen for signals")?;
    let listener = tokio::net::TcpListener::bind(http)
        .await
        .with_context(|| format!("cannot listen on http address {http}"))?;
    let address = listener
        .local_addr()
        .context("the listener has no address")?;
    let line = format!("listening http={address}\n");
    context.output.write(line.as_bytes())?;
    let app = service(client.clone(), terms, admission);
    serve(listener, app, client, Limits::default(), shutdown).await;
    Ok(())
}

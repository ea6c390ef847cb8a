//! `dashboard`: the web page of a Tidemark cluster.

#[cfg(not(target_arch = "wasm32"))]
mod cli {
    use std::io::IsTerminal as _;
    use std::net::SocketAddr;
    use std::path::PathBuf;
    use std::process::ExitCode;
    use std::sync::Arc;

    use anyhow::{Context, Result};
    use clap::{Parser, Subcommand};
    use dashboard::access::{Access, Origin, Users};
    use dashboard::server::{Admission, Parts, check_address, router};
    use dashboard::user_command::{self, UserArguments};
    use query_app::api;
    use query_app::client::Client;
    use query_app::client::targets::Targets;
    use query_app::serve::{Limits, serve, shutdown_signal};
    use store_wire::clock::SystemClock;
    use store_wire::identity::Identity;
    use tokio::net::TcpListener;
    use tracing::warn;
    use tracing_subscriber::EnvFilter;

    /// Serves the web page of a Tidemark cluster: pick series, see them drawn, live.
    #[derive(Debug, Parser)]
    #[command(
        name = "dashboard",
        version,
        about,
        subcommand_negates_reqs = true,
        after_help = "\
Examples:
  dashboard --target store-1,store-2,store-3 --identity /etc/tidemark/dashboard
  dashboard user add anna --role operator --users /etc/tidemark/users.json
  dashboard --http 0.0.0.0:3000 --users /etc/tidemark/users.json --origin https://plant.example \\
            --identity /etc/tidemark/dashboard

It speaks http: on an address that other machines reach put a proxy with TLS before it."
    )]
    struct Arguments {
        #[command(subcommand)]
        command: Option<Command>,
        /// Nodes to ask, in this order; any node of the cluster will do
        #[arg(
            long,
            env = "TIDEMARK_TARGET",
            value_name = "HOST[:PORT]",
            value_delimiter = ',',
            num_args = 1..,
            default_value = "127.0.0.1:7400"
        )]
        target: Vec<String>,
        /// Folder with cert.pem, key.pem and ca.pem of a reader or operator
        #[arg(long, env = "TIDEMARK_IDENTITY", value_name = "DIR", required = true)]
        identity: Option<PathBuf>,
        /// Where to listen
        #[arg(
            long,
            env = "TIDEMARK_HTTP",
            value_name = "ADDR",
            default_value = "127.0.0.1:3000"
        )]
        http: SocketAddr,
        /// Users who may log in, made by `dashboard user add`. Without it whoever reaches the dashboard may
        /// do everything, and it listens on loopback alone
        #[arg(long, env = "TIDEMARK_USERS", value_name = "FILE")]
        users: Option<PathBuf>,
        /// The address that browsers show, where a proxy stands before the dashboard
        #[arg(long, env = "TIDEMARK_ORIGIN", value_name = "https://HOST[:PORT]")]
        origin: Option<Origin>,
    }

    #[derive(Debug, Subcommand)]
    enum Command {
        User(UserArguments),
    }

    pub(super) fn main() -> ExitCode {
        let arguments = Arguments::parse();
        tracing_subscriber::fmt()
            .with_env_filter(
                EnvFilter::try_from_env("TIDEMARK_LOG").unwrap_or_else(|_| EnvFilter::new("info")),
            )
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .init();
        let outcome = match &arguments.command {
            Some(Command::User(arguments)) => user_command::run(arguments),
            None => {
                let admission = match arguments.users {
                    Some(_) => Admission::ByLogin,
                    None => Admission::Anybody,
                };
                if let Err(error) = check_address(arguments.http, admission) {
                    eprintln!("error: {error}");
                    return ExitCode::from(2);
                }
                run(&arguments)
            }
        };
        match outcome {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::FAILURE
            }
        }
    }

    #[tokio::main]
    async fn run(arguments: &Arguments) -> Result<()> {
        let targets = Targets::parse(&arguments.target.join(","))?;
        let identity = arguments.identity.as_deref().context("no --identity")?;
        let client = Client::over_quic(identity, targets)
            .with_context(|| format!("cannot use the identity in {}", identity.display()))?;
        let own = Identity::load(identity)?;
        let shutdown = shutdown_signal().context("cannot listen for signals")?;
        let listener = TcpListener::bind(arguments.http)
            .await
            .with_context(|| format!("cannot listen on {}", arguments.http))?;
        let address = listener
            .local_addr()
            .context("the listener has no address")?;
        let parts = Parts {
            api: api::router(client.clone(), api::Admission::Callers),
            access: access(arguments)?,
            clock: Arc::new(SystemClock),
            certificate_expires: Some(own.own().not_after),
        };
        println!("dashboard ready http={address}");
        serve(listener, router(parts), client, Limits::default(), shutdown).await;
        Ok(())
    }

    fn access(arguments: &Arguments) -> Result<Access> {
        let origin = arguments.origin.clone();
        let is_secure = origin.as_ref().is_some_and(Origin::is_secure);
        let Some(users) = &arguments.users else {
            return Ok(Access::open(origin));
        };
        if !arguments.http.ip().is_loopback() && !is_secure {
            warn!(
                "passwords and sessions travel as they are, and browsers keep no session over plain http: \
                 put a proxy with TLS before the dashboard and name it with --origin"
            );
        }
        Ok(Access::by_login(Users::open(users)?, origin)?)
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn main() -> std::process::ExitCode {
    cli::main()
}

/// The browser part is the library; this program is for servers.
#[cfg(target_arch = "wasm32")]
fn main() {}

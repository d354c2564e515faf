//! `cargo xtask run`: the gateway in front of three demo services, and what to try with them, until Ctrl-C.

use std::io::Read;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

use crate::process::{Running, run as run_command, tied};
use crate::{demo, guests, house, ready};

/// Builds everything, starts the demo and prints what to try. Ctrl-C and SIGTERM end it, and the gateway in order.
///
/// # Errors
///
/// Something does not build, an address is taken, or the gateway ends by itself.
pub fn run() -> Result<()> {
    guests::build()?;
    println!("xtask: building the gateway in release (the first time takes minutes)");
    run_command(house::workspace_cargo().args(["build", "--release", "--package", "gatewright"]))?;
    let secret = secret()?;
    let token = demo::mint(&secret, "ada", demo::SCOPES, demo::now())?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(show(&secret, &token))
}

async fn show(secret: &str, token: &str) -> Result<()> {
    let mut services = demo::services().await?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut gateway = Running::start(
        tied(&house::gateway()).arg("run").arg("--config").arg(house::quickstart()).env(demo::SECRET_VARIABLE, secret),
    )?;
    let mut told = false;
    let ended = loop {
        tokio::select! {
            _ = interrupt.recv() => break Ok(()),
            _ = terminate.recv() => break Ok(()),
            () = services.serve() => {}
            () = tokio::time::sleep(ready::GLANCE) => {
                if let Err(fault) = gateway.still() {
                    break Err(fault);
                }
                if !told && ready::answers(demo::ADMIN, "/readyz").await {
                    told = true;
                    print!("{}", text(token));
                }
            }
        }
    };
    println!("xtask: ending the gateway");
    tokio::task::spawn_blocking(move || drop(gateway)).await?;
    ended
}

/// The secret for tokens: the one in the environment, or a new one.
fn secret() -> Result<String> {
    if let Some(set) = std::env::var_os(demo::SECRET_VARIABLE) {
        return set.into_string().ok().context("the demo's secret is not UTF-8");
    }
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.map(|byte| format!("{byte:02x}")).concat())
}

fn text(token: &str) -> String {
    let mut text = format!(
        "\nThe gateway is at http://{}, its admin API at http://{}. Ctrl-C ends both.\nIn another terminal:\n\nTOKEN={token}\n",
        demo::GATEWAY,
        demo::ADMIN
    );
    for one in demo::tries(demo::GATEWAY, demo::FAILING) {
        text.push_str(&format!("\n# {}: {}\n{}\n", one.title, one.status, one.command));
    }
    text.push('\n');
    text
}

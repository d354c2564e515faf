//! `cargo xtask run`: the gateway in front of three demo services, and what to try with them, until Ctrl-C.

use std::io::Read;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};

use crate::demo::service::Services;
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
    let mut gateway = tied(&house::gateway());
    gateway.arg("run").arg("--config").arg(house::quickstart()).env(demo::SECRET_VARIABLE, &secret);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let services = demo::services().await?;
        show(services, &mut gateway, demo::ADMIN, &text(&token)).await
    })
}

/// Runs services and gateway until a signal comes, and prints the text once the gateway is ready; then all of it has ended.
async fn show(mut services: Services, gateway: &mut Command, admin: SocketAddr, text: &str) -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut gateway = Running::start(gateway)?;
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
                if !told && ready::answers(admin, "/readyz").await {
                    told = true;
                    print!("{text}");
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

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::path::Path;

    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[test]
    fn ctrl_c_ends_everything_that_was_started() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let noted = folder.path().join("process");
        // In the gateway's place something that notes which process it is, and runs for longer than any test.
        let mut gateway = tied(Path::new("sh"));
        gateway.args(["-c", "echo $$ >\"$0.draft\" && mv \"$0.draft\" \"$0\" && exec sleep 600"]).arg(&noted);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (users, process) = runtime.block_on(async {
            let mut services = Services::new();
            let users = services.open("users", "127.0.0.1:0".parse()?).await?;
            let interrupted = async {
                let process = loop {
                    match std::fs::read_to_string(&noted) {
                        Ok(process) => break process,
                        Err(_) => tokio::time::sleep(ready::GLANCE).await,
                    }
                };
                assert!(TcpStream::connect(users).is_ok());
                kill_process(getpid(), Signal::INT)?;
                anyhow::Ok(process)
            };
            let nowhere = ready::free_address()?;
            let (shown, process) = tokio::join!(show(services, &mut gateway, nowhere, ""), interrupted);
            shown?;
            anyhow::Ok((users, process?))
        })?;
        // As at the end of the command.
        drop(runtime);
        assert!(TcpStream::connect(users).is_err());
        assert!(!Path::new(&format!("/proc/{}", process.trim())).exists());
        Ok(())
    }
}

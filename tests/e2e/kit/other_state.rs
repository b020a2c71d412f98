//! The program of `tests/other_state`, whose hand-over has other fields.
use std::path::PathBuf;
use std::process::Command;

/// Builds it like these tests; `None` where there is no cargo.
pub(crate) fn build() -> Option<PathBuf> {
    let cargo = std::env::var_os("CARGO")?;
    // TARGET_DIR/[TRIPLE/]PROFILE/deps/TEST
    let test = std::env::current_exe().unwrap();
    let [profile, above, top] = [2, 3, 4].map(|up| test.ancestors().nth(up).unwrap());
    let triple = above.file_name().filter(|name| name.to_string_lossy().contains("-linux-"));
    // Not the release's profile, whose link takes minutes.
    let (profile, folder) = if profile.ends_with("debug") { ("dev", "debug") } else { ("tests", "tests") };
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--offline", "--locked", "--features", "other-state", "--bin", "other-state"]);
    command.args(["--profile", profile, "--target-dir"]).arg(if triple.is_some() { top } else { above });
    if let Some(triple) = triple {
        command.arg("--target").arg(triple);
    }
    let status = command.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
    assert!(status.success(), "{command:?}");
    Some(above.join(folder).join("other-state"))
}

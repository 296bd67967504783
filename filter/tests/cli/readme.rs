//! What the README prints of the CLI is what it prints. Numbers of the model that ships, and which features speak, move with it:
//! they are not compared.

use std::process::Command;

use super::root;

fn blocks() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let blocks = readme.split("\n```console\n$ ").skip(1);
    let blocks = blocks.map(|rest| rest.split("\n```").next().unwrap_or_default().to_owned());
    blocks.filter(|block| is_ours(block)).collect()
}

fn is_ours(block: &str) -> bool {
    let command = block.lines().next().unwrap_or_default();
    command.starts_with("pointsman ") || command.contains("| pointsman ")
}

/// Without what the model's weights alone decide: its features, the runner-up, and every number with a point.
fn masked(text: &str) -> String {
    let moves = |line: &&str| {
        let line = line.trim_start();
        line.starts_with(['+', '-']) || line.starts_with("for ") || line.starts_with("reason ")
    };
    let mut shown = String::new();
    for line in text.trim().lines().filter(|line| !moves(line)) {
        for word in line.split_inclusive([' ', ',', ';']) {
            match word.trim_end_matches([' ', ',', ';']).parse::<f32>() {
                Ok(_) if word.contains('.') => shown.push('#'),
                _ => shown.push_str(word),
            }
        }
        shown.push('\n');
    }
    shown
}

#[test]
fn the_console_blocks_print_what_they_say() {
    let blocks = blocks();
    assert!(blocks.len() >= 3, "{}", blocks.len());
    for block in blocks {
        let (command, printed) = block.split_once('\n').expect("output");
        let bin = env!("CARGO_BIN_EXE_pointsman");
        let command = format!("pointsman() {{ '{bin}' \"$@\"; }}\n{command} 2>&1");
        let output = Command::new("bash")
            .args(["-c", &command])
            .current_dir(root())
            .output();
        let output = output.expect("bash");
        let output = String::from_utf8_lossy(&output.stdout);
        assert_eq!(masked(&output), masked(printed), "{command}");
    }
}

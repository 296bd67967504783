//! What the local model says, from standard input to standard output: no more than its library, so that it is the same code in
//! Wasm and natively.
//!
//! In, again and again: a kind (`0` a chat completion's body, `1` a text as it is), a length (u32, little-endian), and that many
//! bytes. Out, for each: what [`pointsman::classify::local`] answers, [`MAX_LABELS`] floats by their bits (u32, little-endian); all
//! bits set where there is no answer.

use std::io::{self, Read, Write};

use pointsman::chat::request::parse;
use pointsman::classify::local::features::{Features, Input};
use pointsman::classify::local::model::{MAX_LABELS, Model, PerLabel};
use pointsman::classify::local::{READ, built_in, input, lexicon};

fn main() -> io::Result<()> {
    let model = built_in().ok_or_else(|| io::Error::other("the filter comes without a model"))?;
    let mut features = Features::default();
    let mut stdin = io::stdin().lock();
    let mut stdout = io::stdout().lock();
    let mut head = [0; 5];
    while stdin.read_exact(&mut head).is_ok() {
        let [kind, length @ ..] = head;
        let mut bytes = vec![0; usize::try_from(u32::from_le_bytes(length)).unwrap_or_default()];
        stdin.read_exact(&mut bytes)?;
        let bits = match answer(&model, kind, &bytes, &mut features) {
            Some(found) => found.map(f32::to_bits),
            None => [u32::MAX; MAX_LABELS],
        };
        for bits in bits {
            stdout.write_all(&bits.to_le_bytes())?;
        }
    }
    stdout.flush()
}

fn answer(model: &Model, kind: u8, bytes: &[u8], features: &mut Features) -> Option<PerLabel> {
    if kind == 1 {
        let text = std::str::from_utf8(bytes).ok()?;
        return Some(model.read(&Input::of_text(text), lexicon(), features));
    }
    let request = parse(bytes, READ).ok()?;
    Some(model.read(&input(&request.conversation), lexicon(), features))
}

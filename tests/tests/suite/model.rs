//! The local model answers the same in Wasm as it does natively, to the last bit.
//!
//! `tests/model` is compiled to Wasm as the filter is, and asked the same things as the library is asked here.

use std::fs;
use std::process::Command;

use pointsman::chat::request::parse;
use pointsman::classify::local::features::{Features, Input};
use pointsman::classify::local::model::{MAX_LABELS, Model};
use pointsman::classify::local::{READ, built_in, input, lexicon};
use pointsman_tests::render;
use serde_json::{Map, Value, json};
use wasmi::{Caller, Engine, Error, Extern, Linker, Memory, Module, Store};

const TARGET: &str = "wasm32-wasip1";

/// What is asked: `tests/model` has the same two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Body = 0,
    Text = 1,
}

#[derive(Debug)]
struct Question {
    name: String,
    kind: Kind,
    bytes: Vec<u8>,
}

type Bits = [u32; MAX_LABELS];

/// What [`tests/model`](self) says where there is no answer.
const NOTHING: Bits = [u32::MAX; MAX_LABELS];

#[test]
fn answers_the_same_in_wasm_to_the_last_bit() {
    let mut questions = every_test_line();
    assert!(questions.len() >= 600, "only {}", questions.len());
    let lines = questions.len();
    questions.extend(hostile());
    let in_wasm = in_wasm(&questions);
    let native = natively(&questions);
    assert_eq!(in_wasm.len(), questions.len());
    for ((question, in_wasm), native) in questions.iter().zip(&in_wasm).zip(&native) {
        let shown = |bits: &Bits| bits.map(f32::from_bits);
        assert_eq!(
            in_wasm,
            native,
            "{}: in Wasm {:?}, natively {:?}",
            question.name,
            shown(in_wasm),
            shown(native)
        );
    }
    // Neither a model that always says the same, nor one that says nothing.
    assert!(!native[..lines].contains(&NOTHING));
    let mut different = native[..lines].to_vec();
    different.sort_unstable();
    different.dedup();
    assert!(different.len() > lines / 2, "{} answers", different.len());
    assert_eq!(native.last(), Some(&NOTHING), "what is no request");
}

// === what is asked

fn body_of_text(text: &str) -> Vec<u8> {
    json!({"model": "auto", "messages": [{"role": "user", "content": text}]})
        .to_string()
        .into_bytes()
}

/// Every line of `filter/model/test`, as the body of a request.
fn every_test_line() -> Vec<Question> {
    let folder = render::root().join("filter/model/test");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "jsonl"))
        .collect();
    files.sort();
    let mut questions = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).expect("UTF-8");
        let file = path.file_stem().unwrap_or_default().to_string_lossy();
        for (number, line) in text.lines().enumerate() {
            let name = format!("{file}:{}", number + 1);
            let mut line: Map<String, Value> = serde_json::from_str(line).expect(&name);
            let bytes = match (line.remove("prompt"), line.remove("request")) {
                (Some(Value::String(prompt)), None) => body_of_text(&prompt),
                (None, Some(Value::Object(mut request))) => {
                    request.insert("model".to_owned(), "auto".into());
                    Value::Object(request).to_string().into_bytes()
                }
                _ => panic!("{name}: neither a prompt nor a request"),
            };
            let kind = Kind::Body;
            questions.push(Question { name, kind, bytes });
        }
    }
    questions
}

/// Texts at the edges, both whole and as a request that cuts them; the last question is no request at all.
fn hostile() -> Vec<Question> {
    const MIB: usize = 1 << 20;
    let every_scalar: String = (0..=0x1_FFFFu32).filter_map(char::from_u32).collect();
    let texts = [
        ("empty", String::new()),
        ("a space", " ".to_owned()),
        ("1 MiB of one letter", "a".repeat(MIB)),
        ("1 MiB of one ideograph", "漢".repeat(MIB / 3)),
        ("1 MiB of lines", "\n".repeat(MIB)),
        ("1 MiB of marks", "`=>".repeat(MIB / 3)),
        ("words without end", "wort ".repeat(MIB / 5)),
        ("emoji", "👩🏽‍🚀🏴󠁧󠁢󠁥󠁮󠁧󠁿🇩🇪 fix this 🐛? 🙏🙏".repeat(50)),
        (
            "combining marks",
            format!(
                "e{}t{}",
                "\u{301}".repeat(3000),
                "\u{327}\u{323}".repeat(999)
            ),
        ),
        (
            "only combining marks",
            "\u{300}\u{36f}\u{64b}\u{200d}\u{feff}".repeat(500),
        ),
        (
            "mixed scripts",
            "Prüfe этот κώδικας für 日本語のコード وأخبرني बताओ 한국어로 ไทย? ".repeat(30),
        ),
        ("case that grows", "İSTANBUL ẞ ŉ ǰ ﬃ Ǆ ΐ Σς".repeat(40)),
        ("NUL", "\0\0what is\0this?\0".repeat(20)),
        (
            "noncharacters and private use",
            "\u{fffe}\u{ffff}\u{10ffff}\u{e000}\u{202e}\u{85}\u{2028}".repeat(50),
        ),
        (
            "CRLF",
            "1. a\r\n2) b\r\n\t\tif (x) {\r\n| a | b |\r\n".repeat(60),
        ),
        ("digits", "0123456789".repeat(2000)),
        ("every scalar value below U+20000", every_scalar),
    ];
    let both = |(name, text): (&str, String)| {
        let body = Question {
            name: format!("{name}, as a request"),
            kind: Kind::Body,
            bytes: body_of_text(&text),
        };
        let text = Question {
            name: name.to_owned(),
            kind: Kind::Text,
            bytes: text.into_bytes(),
        };
        [body, text]
    };
    let mut questions: Vec<Question> = texts.into_iter().flat_map(both).collect();
    let talk = json!({"model": "auto", "tools": [{"type": "function", "function": {"name": "f"}}], "messages": [
        {"role": "system", "content": "Du bist ein Übersetzer. ".repeat(60)},
        {"role": "user", "content": "Prove that there are infinitely many primes."},
        {"role": "assistant", "content": "Suppose not."},
        {"role": "user", "content": "go on"},
    ]});
    for (name, bytes) in [
        ("a conversation", talk.to_string().into_bytes()),
        ("no request", b"\xff".to_vec()),
    ] {
        let (name, kind) = (name.to_owned(), Kind::Body);
        questions.push(Question { name, kind, bytes });
    }
    questions
}

// === natively

fn natively(questions: &[Question]) -> Vec<Bits> {
    let model = built_in().expect("a model");
    // As a worker does: one working memory for all.
    let mut features = Features::default();
    questions
        .iter()
        .map(|question| native(&model, question, &mut features))
        .collect()
}

fn native(model: &Model, question: &Question, features: &mut Features) -> Bits {
    let found = match question.kind {
        Kind::Text => {
            let text = std::str::from_utf8(&question.bytes).expect("UTF-8");
            model.read(&Input::of_text(text), lexicon(), features)
        }
        Kind::Body => match parse(&question.bytes, READ) {
            Ok(request) => model.read(&input(&request.conversation), lexicon(), features),
            Err(_) => return NOTHING,
        },
    };
    found.map(f32::to_bits)
}

// === in Wasm

/// The guest's standard input, what it has read of it, and its standard output.
#[derive(Debug, Default)]
struct Pipes {
    input: Vec<u8>,
    read: usize,
    output: Vec<u8>,
}

fn in_wasm(questions: &[Question]) -> Vec<Bits> {
    let mut pipes = Pipes::default();
    for question in questions {
        let length = u32::try_from(question.bytes.len()).expect("short enough");
        pipes.input.push(question.kind as u8);
        pipes.input.extend(length.to_le_bytes());
        pipes.input.extend(&question.bytes);
    }
    let engine = Engine::default();
    let module = Module::new(&engine, build()).expect("a module");
    let mut store = Store::new(&engine, pipes);
    let linker = host(&engine, &module);
    let instance = linker
        .instantiate_and_start(&mut store, &module)
        .unwrap_or_else(|e| panic!("{e}"));
    instance
        .get_typed_func::<(), ()>(&store, "_start")
        .unwrap_or_else(|e| panic!("{e}"))
        .call(&mut store, ())
        .unwrap_or_else(|e| panic!("{e}"));
    let output = store.into_data().output;
    let numbers = output.as_chunks::<4>().0.iter();
    let numbers: Vec<u32> = numbers.map(|b| u32::from_le_bytes(*b)).collect();
    numbers.as_chunks::<MAX_LABELS>().0.to_vec()
}

/// Cargo knows what is up to date.
fn build() -> Vec<u8> {
    let status = Command::new(env!("CARGO"))
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--target",
            TARGET,
        ])
        .args(["--package", "pointsman-model"])
        .current_dir(render::root())
        .status()
        .expect("cargo runs");
    assert!(status.success(), "pointsman-model does not build");
    let built = format!("{TARGET}/release/pointsman-model.wasm");
    let built = render::target().expect("a folder").join(built);
    fs::read(&built).unwrap_or_else(|e| panic!("{}: {e}", built.display()))
}

/// Of WASI, reading and writing; whatever else the module imports is a trap that says so.
fn host(engine: &Engine, module: &Module) -> Linker<Pipes> {
    let mut linker = Linker::new(engine);
    for import in module.imports() {
        let (from, name) = (import.module(), import.name());
        let Some(ty) = import.ty().func() else {
            panic!("{from}.{name} is no function");
        };
        let defined = match (from, name) {
            ("wasi_snapshot_preview1", "fd_read") => linker.func_wrap(from, name, fd_read),
            ("wasi_snapshot_preview1", "fd_write") => linker.func_wrap(from, name, fd_write),
            _ => {
                let called = format!("{from}.{name} is called");
                let trap = move |_: Caller<'_, Pipes>, _: &[_], _: &mut [_]| {
                    Err(Error::new(called.clone()))
                };
                linker.func_new(from, name, ty.clone(), trap)
            }
        };
        defined.unwrap_or_else(|e| panic!("{from}.{name}: {e}"));
    }
    linker
}

/// Source of both calls: <https://github.com/WebAssembly/WASI/blob/wasi-0.1/preview1/docs.md#fd_read>.
fn fd_read(mut caller: Caller<'_, Pipes>, fd: i32, list: i32, count: i32, done: i32) -> i32 {
    assert_eq!(fd, 0, "it reads no file");
    let memory = memory(&caller);
    let mut sum = 0;
    for (at, length) in vectors(&memory, &caller, list, count) {
        let (data, pipes) = memory.data_and_store_mut(&mut caller);
        let left = &pipes.input[pipes.read..];
        let taken = left.len().min(length);
        data[at..at + taken].copy_from_slice(&left[..taken]);
        pipes.read += taken;
        sum += taken;
    }
    put(&memory, &mut caller, done, sum);
    0
}

fn fd_write(mut caller: Caller<'_, Pipes>, fd: i32, list: i32, count: i32, done: i32) -> i32 {
    let memory = memory(&caller);
    let mut sum = 0;
    for (at, length) in vectors(&memory, &caller, list, count) {
        let (data, pipes) = memory.data_and_store_mut(&mut caller);
        let written = &data[at..at + length];
        // A panic's words, for example.
        assert_eq!(fd, 1, "{}", String::from_utf8_lossy(written));
        pipes.output.extend_from_slice(written);
        sum += length;
    }
    put(&memory, &mut caller, done, sum);
    0
}

fn memory(caller: &Caller<'_, Pipes>) -> Memory {
    caller
        .get_export("memory")
        .and_then(Extern::into_memory)
        .expect("a memory")
}

/// Address and length of each of `count` buffers.
fn vectors(
    memory: &Memory,
    caller: &Caller<'_, Pipes>,
    list: i32,
    count: i32,
) -> Vec<(usize, usize)> {
    let word = |at: usize| {
        let mut bytes = [0; 4];
        memory.read(caller, at, &mut bytes).expect("inside");
        address(i32::from_le_bytes(bytes))
    };
    let vector = |n: usize| {
        let at = address(list) + n * 8;
        (word(at), word(at + 4))
    };
    (0..address(count)).map(vector).collect()
}

fn put(memory: &Memory, caller: &mut Caller<'_, Pipes>, at: i32, number: usize) {
    let number = u32::try_from(number).expect("32 bits").to_le_bytes();
    memory.write(caller, address(at), &number).expect("inside");
}

/// Wasm's 32 bits have no sign here.
fn address(bits: i32) -> usize {
    usize::try_from(bits.cast_unsigned()).expect("32 bits")
}

//! OpenAI chat completions: what is read is typed, what is not read is kept as it came.

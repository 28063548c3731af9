//! In native code: an endpoint that answers what it was told to.

use std::{cell::RefCell, collections::BTreeMap, io};

use super::Answer;

/// The endpoint under check.
///
/// In a plugin it is given; in a native test it is made with [`Target::builder`].
#[derive(Debug, Default)]
pub struct Target {
    name: String,
    labels: BTreeMap<String, String>,
    answers: Vec<(String, Result<Answer, String>)>,
    stream: Option<Vec<u8>>,
    asked: RefCell<Vec<String>>,
}

impl Target {
    /// An endpoint named `127.0.0.1:80` that refuses everything.
    pub fn builder() -> TargetBuilder {
        TargetBuilder(Self { name: "127.0.0.1:80".into(), ..Self::default() })
    }

    /// Address of the endpoint as text.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// One label of the endpoint.
    pub fn label(&self, key: &str) -> Option<String> {
        self.labels.get(key).cloned()
    }

    /// One HTTP request, by the cluster's own protocol and TLS. The path includes the query.
    ///
    /// # Errors
    /// When no answer came; the text says why.
    pub fn http(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, String> {
        let _ = (headers, body);
        self.asked.borrow_mut().push(format!("{method} {path}"));
        let answer = self.answers.iter().find(|(known, _)| known == path);
        answer.map_or_else(|| Err("connection refused".into()), |(_, answer)| answer.clone())
    }

    /// Open a raw connection. It closes when it is dropped.
    ///
    /// # Errors
    /// When the endpoint does not take it.
    pub fn connect(&self) -> Result<Connection, String> {
        let input = self.stream.clone().ok_or("connection refused")?;
        Ok(Connection { input: io::Cursor::new(input), output: Vec::new() })
    }

    /// For tests: what was asked by HTTP, as `METHOD path`.
    pub fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }
}

/// A raw connection to the endpoint under check.
#[derive(Debug)]
pub struct Connection {
    input: io::Cursor<Vec<u8>>,
    output: Vec<u8>,
}

impl Connection {
    /// For tests: all that was written.
    pub fn written(&self) -> &[u8] {
        &self.output
    }
}

impl io::Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.input.read(into)
    }
}

impl io::Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Makes a [`Target`] for a native test.
#[derive(Debug)]
pub struct TargetBuilder(Target);

impl TargetBuilder {
    /// The target.
    pub fn build(self) -> Target {
        self.0
    }

    /// With this address.
    pub fn name(mut self, name: &str) -> Self {
        self.0.name = name.into();
        self
    }

    /// With this label.
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.0.labels.insert(key.into(), value.into());
        self
    }

    /// Answers requests for a path.
    pub fn answer(mut self, path: &str, answer: Answer) -> Self {
        self.0.answers.push((path.into(), Ok(answer)));
        self
    }

    /// Fails requests for a path.
    pub fn fail(mut self, path: &str, why: &str) -> Self {
        self.0.answers.push((path.into(), Err(why.into())));
        self
    }

    /// Takes raw connections and sends these bytes on each.
    pub fn stream(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.0.stream = Some(bytes.into());
        self
    }
}

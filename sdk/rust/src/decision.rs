//! What a router may decide.

/// What a router decides about one request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Decision {
    /// Nothing to say: the next plugin, then the route decides.
    #[default]
    Pass,
    /// Forward like this. Plugins after this one are still asked, and the last word on each part counts.
    Forward(Forward),
    /// Answer now, without an endpoint.
    Respond(Response),
}

/// Where to forward, and how. Parts that are left out stay as the route has them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forward {
    /// Another cluster than the route's; must exist.
    pub cluster: Option<String>,
    /// Request headers to set, replacing what is there.
    pub set_headers: Vec<(String, String)>,
    /// Request headers to remove, before any is set.
    pub remove_headers: Vec<String>,
    /// Path and query to send instead; starts with `/`.
    pub path: Option<String>,
    /// Key for balancers that hash.
    pub hash_key: Option<String>,
    /// Labels an endpoint must have to be picked.
    pub labels: Vec<(String, String)>,
}

impl Forward {
    /// Forward to this cluster.
    pub fn to_cluster(mut self, name: impl Into<String>) -> Self {
        self.cluster = Some(name.into());
        self
    }

    /// Set a request header.
    pub fn set_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.set_headers.push((name.into(), value.into()));
        self
    }

    /// Remove a request header.
    pub fn remove_header(mut self, name: impl Into<String>) -> Self {
        self.remove_headers.push(name.into());
        self
    }

    /// Send this path and query instead.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// Give balancers this key.
    pub fn hash_key(mut self, key: impl Into<String>) -> Self {
        self.hash_key = Some(key.into());
        self
    }

    /// Only endpoints with this label.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.push((key.into(), value.into()));
        self
    }
}

impl From<Forward> for Decision {
    fn from(forward: Forward) -> Self {
        Self::Forward(forward)
    }
}

/// An answer of the plugin's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// Response headers.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Response {
    /// An empty answer with this status.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Add a response header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Answer with this body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

impl From<Response> for Decision {
    fn from(response: Response) -> Self {
        Self::Respond(response)
    }
}

//! What an Envoy holds in memory.

use crate::envoy::{self, Envoy};

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Anonymous memory of the process that is resident: Envoy's heap and what the filter's VMs hold.
    pub resident: u64,
    /// What Envoy's allocator has given out and not got back. A VM's memory is not in it.
    pub allocated: u64,
}

impl Memory {
    pub async fn of(envoy: &Envoy) -> Result<Self, String> {
        let resident = envoy::memory(envoy.id(), "RssAnon");
        let said: serde_json::Value = serde_json::from_str(&envoy.get("/memory").await?)
            .map_err(|e| format!("Envoy's /memory: {e}"))?;
        let allocated = said["allocated"].as_str().and_then(|n| n.parse().ok());
        Ok(Self {
            resident: resident.map_err(|e| e.to_string())?,
            allocated: allocated.ok_or("Envoy's /memory says nothing of `allocated`")?,
        })
    }
}

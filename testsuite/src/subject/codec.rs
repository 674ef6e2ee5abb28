//! Host references of these tests: 32-bit numbers.

use wasm_migrate::ExternRefCodec;
use wasmtime::{ExternRef, Rooted, StoreContextMut};

use super::Host;

/// Saves a number as its bytes.
pub(super) struct NumberCodec;

impl ExternRefCodec<Host> for NumberCodec {
    fn encode(
        &self,
        store: StoreContextMut<'_, Host>,
        reference: Rooted<ExternRef>,
    ) -> Result<Vec<u8>, String> {
        let data = reference.data(&store).map_err(|error| error.to_string())?;
        let number = data.and_then(|data| data.downcast_ref::<u32>());
        number
            .map(|number| number.to_le_bytes().to_vec())
            .ok_or_else(|| {
                "expected a number of the test's host, found another kind of reference".to_owned()
            })
    }

    fn decode(
        &self,
        store: StoreContextMut<'_, Host>,
        bytes: &[u8],
    ) -> Result<Rooted<ExternRef>, String> {
        let bytes: [u8; 4] = bytes
            .try_into()
            .map_err(|_| format!("expected 4 bytes, found {}", bytes.len()))?;
        ExternRef::new(store, u32::from_le_bytes(bytes)).map_err(|error| error.to_string())
    }
}

//! x
use wasm_migrate::wasi::*; use wasm_migrate::Migration; use wasmtime::*;
struct H { w: WasiCtx, m: Migration }
#[test] fn adhoc() {
  let e = Engine::default(); let bytes = std::fs::read(std::env::var("ADHOC").unwrap()).unwrap(); let m = Module::new(&e, bytes).unwrap();
  let w = WasiBuilder::new().args(vec!["t".into(), "arg1".into()]).env("HOME","/h").inherit_stdio().preopen(std::path::Path::new("/tmp/cwasi/root"), "/").unwrap().build();
  let mut l = Linker::new(&e); add_to_linker(&mut l, |h: &mut H| &mut h.w, |h| &mut h.m).unwrap();
  let mut s = Store::new(&e, H { w, m: Migration::default() });
  let i = l.instantiate(&mut s, &m).unwrap();
  let r = i.get_typed_func::<(), ()>(&mut s, "_start").unwrap().call(&mut s, ());
  eprintln!("{r:?}");
  if std::env::var("BENCH").is_ok() { eprintln!("done"); }
}

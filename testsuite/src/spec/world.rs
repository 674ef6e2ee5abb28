//! The instances of one file: who they are, who may be exchanged for a fresh instance, and who is
//! linked with whom.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use wasmtime::{Engine, Extern, ImportType, Result, Val};

use super::script::{Action, Encoded, Execute, Invoke, Script};
use super::spectest;
use super::values::argument;
use crate::Way;
use crate::subject::{Ensemble, Host, NotPrepared, Program, Solo, Store};

/// Why there is no instance.
#[derive(Debug, Clone)]
pub(crate) enum Absent {
    /// The rewriter refuses a construct of the module, or of one that it imports from.
    Refused(String),
    /// It should be there.
    Failed(String),
}

/// What executing something came to: an outcome of the guest, or nothing to execute.
pub(crate) type Executed = Result<Result<Vec<Val>>, Absent>;

/// All instances of a file in one way.
pub(crate) struct World<'a> {
    engine: &'a Engine,
    way: Way,
    /// Numbers of the instances that the file registers at some time.
    registered_later: HashSet<usize>,
    residents: Vec<Result<Resident, Absent>>,
    names: HashMap<String, usize>,
    definitions: HashMap<String, Encoded>,
    latest_definition: Option<Encoded>,
    /// Registered module names whose instance is missing.
    missing: HashMap<String, Absent>,
    ensemble: Ensemble,
}

enum Resident {
    Solo(Box<Solo>),
    Member(usize),
}

impl<'a> World<'a> {
    /// An empty world for a file.
    ///
    /// # Errors
    /// The engine cannot make the suite's own module.
    pub(crate) fn new(engine: &'a Engine, way: Way, script: &Script) -> Result<Self> {
        Ok(Self {
            engine,
            way,
            registered_later: registered_later(script),
            residents: Vec::new(),
            names: HashMap::new(),
            definitions: HashMap::new(),
            latest_definition: None,
            missing: HashMap::new(),
            ensemble: Ensemble::new(engine, way, spectest::define)?,
        })
    }

    /// Notes a module for later instances.
    pub(crate) fn define(&mut self, name: Option<&str>, wasm: &Encoded) {
        if let Some(name) = name {
            self.definitions.insert(name.to_owned(), wasm.clone());
        }
        self.latest_definition = Some(wasm.clone());
    }

    /// Instantiates a noted module.
    pub(crate) fn instantiate_definition(
        &mut self,
        name: Option<&str>,
        definition: Option<&str>,
    ) -> Executed {
        let wasm = match definition {
            Some(definition) => self.definitions.get(definition).cloned(),
            None => self.latest_definition.clone(),
        };
        let wasm = wasm.unwrap_or_else(|| Err("there is no such module definition".to_owned()));
        self.instantiate(name, &wasm)
    }

    /// Instantiates a module as the file's next instance.
    pub(crate) fn instantiate(&mut self, name: Option<&str>, wasm: &Encoded) -> Executed {
        let number = self.residents.len();
        let (resident, executed) = match self.make(wasm, self.registered_later.contains(&number)) {
            Ok(Ok(resident)) => (Ok(resident), Ok(Ok(Vec::new()))),
            Ok(Err(error)) => (Err(Absent::Failed(format!("{error:#}"))), Ok(Err(error))),
            Err(absent) => (Err(absent.clone()), Err(absent)),
        };
        self.residents.push(resident);
        if let Some(name) = name {
            self.names.insert(name.to_owned(), number);
        }
        executed
    }

    /// Instantiates a module that nothing can refer to afterwards.
    pub(crate) fn try_instantiate(&mut self, wasm: &Encoded) -> Executed {
        self.make(wasm, false).map(|made| made.map(|_| Vec::new()))
    }

    /// How often guests have been stopped and resumed.
    pub(crate) fn stops(&self) -> u64 {
        let solos = self.residents.iter().map(|resident| match resident {
            Ok(Resident::Solo(solo)) => solo.stops(),
            Ok(Resident::Member(_)) | Err(_) => 0,
        });
        solos.sum::<u64>() + self.ensemble.stops()
    }

    fn make(&mut self, wasm: &Encoded, registered: bool) -> Result<Result<Resident>, Absent> {
        let wasm = wasm
            .as_ref()
            .map_err(|error| Absent::Failed(error.clone()))?;
        let program = match Program::new(self.engine, wasm, self.way) {
            Ok(program) => Arc::new(program),
            Err(NotPrepared::Refused(construct)) => {
                // Counted by kind: the details in brackets differ from module to module.
                let kind = construct.split(" (").next().unwrap_or(&construct);
                return Err(Absent::Refused(kind.to_owned()));
            }
            Err(NotPrepared::Broken(message)) => return Err(Absent::Failed(message)),
            Err(NotPrepared::Engine(error)) => return Ok(Err(error)),
        };
        let module = program.module();
        if let Some(absent) = module
            .imports()
            .find_map(|import| self.missing.get(import.module()))
        {
            return Err(absent.clone());
        }
        let linked = registered || module.imports().any(|import| is_shared(&import));
        Ok(if linked {
            self.ensemble.add(&program).map(Resident::Member)
        } else {
            Solo::new(
                self.engine,
                spectest::define,
                program,
                self.way,
                Host::default(),
            )
            .map(|solo| Resident::Solo(Box::new(solo)))
        })
    }

    /// Makes an instance's exports importable.
    ///
    /// # Errors
    /// There is no such instance.
    pub(crate) fn register(&mut self, module: &str, instance: Option<&str>) -> Result<(), Absent> {
        let number = self.number(instance)?;
        match &self.residents[number] {
            Ok(Resident::Member(member)) => {
                self.missing.remove(module);
                let named = self.ensemble.register(module, *member);
                named.map_err(|error| Absent::Failed(format!("{error:#}")))
            }
            Ok(Resident::Solo(_)) => Err(Absent::Failed(
                "an instance to be registered stands alone".to_owned(),
            )),
            Err(absent) => {
                self.missing.insert(module.to_owned(), absent.clone());
                Err(absent.clone())
            }
        }
    }

    /// Executes what an assertion is about.
    pub(crate) fn execute(&mut self, execute: &Execute) -> Executed {
        match execute {
            Execute::Invoke(invoke) => self.invoke(invoke),
            Execute::Instantiate(wasm) => self.try_instantiate(wasm),
            Execute::Get { instance, global } => self.get(instance.as_deref(), global),
        }
    }

    /// Calls an export.
    pub(crate) fn invoke(&mut self, invoke: &Invoke) -> Executed {
        let number = self.number(invoke.instance.as_deref())?;
        let resident = self.residents[number]
            .as_mut()
            .map_err(|absent| absent.clone())?;
        let store = match resident {
            Resident::Solo(solo) => solo.store(),
            Resident::Member(_) => self.ensemble.store(),
        };
        let arguments: Result<Vec<Val>> = invoke
            .arguments
            .iter()
            .map(|value| argument(store, *value))
            .collect();
        let arguments = match arguments {
            Ok(arguments) => arguments,
            Err(error) => return Ok(Err(error)),
        };
        Ok(match resident {
            Resident::Solo(solo) => solo.call(&invoke.export, &arguments),
            Resident::Member(member) => self.ensemble.call(*member, &invoke.export, &arguments),
        })
    }

    fn get(&mut self, instance: Option<&str>, global: &str) -> Executed {
        let number = self.number(instance)?;
        let resident = self.residents[number]
            .as_mut()
            .map_err(|absent| absent.clone())?;
        let (store, live) = match resident {
            Resident::Solo(solo) => solo.parts(),
            Resident::Member(member) => self.ensemble.parts(*member),
        };
        match live.instance().get_export(&mut *store, global) {
            Some(Extern::Global(global)) => Ok(Ok(vec![global.get(&mut *store)])),
            _ => Err(Absent::Failed(format!(
                "there is no exported global `{global}`"
            ))),
        }
    }

    /// The store in which the latest results of an instance live.
    ///
    /// # Errors
    /// There is no such instance.
    pub(crate) fn store_of(&mut self, execute: &Execute) -> Result<&mut Store, Absent> {
        let name = match execute {
            Execute::Invoke(invoke) => invoke.instance.as_deref(),
            Execute::Get { instance, .. } => instance.as_deref(),
            Execute::Instantiate(_) => return Ok(self.ensemble.store()),
        };
        let number = self.number(name)?;
        match self.residents[number]
            .as_mut()
            .map_err(|absent| absent.clone())?
        {
            Resident::Solo(solo) => Ok(solo.store()),
            Resident::Member(_) => Ok(self.ensemble.store()),
        }
    }

    fn number(&self, name: Option<&str>) -> Result<usize, Absent> {
        let number = match name {
            Some(name) => self.names.get(name).copied(),
            None => self.residents.len().checked_sub(1),
        };
        number.ok_or_else(|| Absent::Failed(format!("there is no instance {name:?}")))
    }
}

/// Can others see what a module does to this import?
fn is_shared(import: &ImportType<'_>) -> bool {
    import.module() != spectest::SPECTEST || spectest::SHARED.contains(&import.name())
}

fn registered_later(script: &Script) -> HashSet<usize> {
    let mut registered = HashSet::new();
    let mut names = HashMap::new();
    let mut count = 0_usize;
    for command in &script.commands {
        match &command.action {
            Action::Module { name, .. } | Action::Instance { name, .. } => {
                if let Some(name) = name {
                    names.insert(name.as_str(), count);
                }
                count += 1;
            }
            Action::Register {
                instance: Some(instance),
                ..
            } => {
                registered.extend(names.get(instance.as_str()));
            }
            Action::Register { instance: None, .. } => registered.extend(count.checked_sub(1)),
            _ => {}
        }
    }
    registered
}

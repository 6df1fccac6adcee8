//! A PKCS#11 module between a test and a real module. `HSM_SHIM_MODULE` names the real one, `HSM_SHIM_CONTROL` a file that
//! is read at every watched call; its lines say what goes wrong now:
//!
//! ```text
//! C_Login rv 0xa4          answer this code instead of calling
//! C_Sign after 0x30        call, then answer this code: failed but done
//! C_Sign sleep 50          call 50 ms later
//! C_Sign hang              never come back
//! C_GenerateKeyPair late   call, then never come back
//! C_Sign corrupt           call, then flip a bit of the signature
//! C_SignInit swap          call with the handle of another key (C_WrapKey, C_UnwrapKey: of another wrapping key)
//! C_UnwrapKey strict       refuse a key that could be read, as a wrapping key with an unwrap template does
//! ```
//!
//! Each watched call is noted in `HSM_SHIM_LOG`, one name a line, and again with "returned" behind it when it returns. Not
//! for production: it is a test's tool and says so by living in a crate of its own that nothing but tests depends on.

mod control;

use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use control::Action;
use cryptoki_sys::*;

/// The real module, kept loaded for ever, and our copy of its function list with the watched functions replaced.
struct Shim {
    _library: Pkcs11,
    real: CK_FUNCTION_LIST,
    ours: CK_FUNCTION_LIST,
}

// SAFETY: function pointers of a module that is never unloaded; the lists are not changed after they were made.
unsafe impl Send for Shim {}
// SAFETY: as above.
unsafe impl Sync for Shim {}

static SHIM: OnceLock<Option<Shim>> = OnceLock::new();
/// The two handles that C_SignInit saw last and that differ, for `swap`.
static HANDLES: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];
/// The same of C_WrapKey and C_UnwrapKey.
static WRAPPING: [AtomicU64; 2] = [AtomicU64::new(0), AtomicU64::new(0)];

fn shim() -> Option<&'static Shim> {
    let load = || {
        let path = std::env::var_os("HSM_SHIM_MODULE")?;
        // SAFETY: loading a module runs its initialisers; which module that is, the test says.
        let library = unsafe { Pkcs11::new(path) }.ok()?;
        let mut list: *mut CK_FUNCTION_LIST = ptr::null_mut();
        // SAFETY: the symbol has this signature by the standard.
        let answer = unsafe { library.C_GetFunctionList(&mut list) };
        if answer != CKR_OK || list.is_null() {
            return None;
        }
        // SAFETY: CKR_OK promises a valid list.
        let real = unsafe { *list };
        let mut ours = real;
        ours.C_GetFunctionList = Some(C_GetFunctionList);
        ours.C_Initialize = Some(initialize);
        ours.C_Login = Some(login);
        ours.C_OpenSession = Some(open_session);
        ours.C_FindObjectsInit = Some(find_objects_init);
        ours.C_SignInit = Some(sign_init);
        ours.C_Sign = Some(sign);
        ours.C_GenerateKeyPair = Some(generate_key_pair);
        ours.C_GenerateKey = Some(generate_key);
        ours.C_WrapKey = Some(wrap_key);
        ours.C_UnwrapKey = Some(unwrap_key);
        ours.C_DestroyObject = Some(destroy_object);
        Some(Shim {
            _library: library,
            real,
            ours,
        })
    };
    SHIM.get_or_init(load).as_ref()
}

/// The module's only entry; a module without C_GetInterface is of version 2.40, which is all that is used.
///
/// # Safety
/// `list` is null or may be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV {
    let Some(shim) = shim() else {
        return CKR_GENERAL_ERROR;
    };
    if list.is_null() {
        return CKR_ARGUMENTS_BAD;
    }
    // SAFETY: by the caller's promise. Callers only read through the pointer.
    unsafe { *list = ptr::from_ref(&shim.ours).cast_mut() };
    CKR_OK
}

/// What the control file says before and after one call.
fn watched(name: &str, call: impl FnOnce(&CK_FUNCTION_LIST) -> Option<CK_RV>) -> CK_RV {
    control::note(name);
    let action = control::action(name);
    match action {
        Some(Action::Answer(code)) => return code,
        Some(Action::Sleep(pause)) => std::thread::sleep(pause),
        Some(Action::Hang) => hang(),
        _ => {}
    }
    let answer = shim()
        .and_then(|shim| call(&shim.real))
        .unwrap_or(CKR_FUNCTION_NOT_SUPPORTED);
    control::note(&format!("{name} returned"));
    match action {
        Some(Action::After(code)) => code,
        Some(Action::Late) => hang(),
        _ => answer,
    }
}

fn hang() -> ! {
    loop {
        std::thread::park();
    }
}

unsafe extern "C" fn initialize(arguments: CK_VOID_PTR) -> CK_RV {
    // SAFETY: here and below: the arguments are passed through untouched, under the promises the caller made.
    watched("C_Initialize", |real| {
        Some(unsafe { real.C_Initialize?(arguments) })
    })
}

unsafe extern "C" fn login(
    session: CK_SESSION_HANDLE,
    user: CK_USER_TYPE,
    pin: CK_UTF8CHAR_PTR,
    length: CK_ULONG,
) -> CK_RV {
    // SAFETY: see `initialize`.
    watched("C_Login", |real| {
        Some(unsafe { real.C_Login?(session, user, pin, length) })
    })
}

unsafe extern "C" fn open_session(
    slot: CK_SLOT_ID,
    flags: CK_FLAGS,
    application: CK_VOID_PTR,
    notify: CK_NOTIFY,
    session: CK_SESSION_HANDLE_PTR,
) -> CK_RV {
    watched("C_OpenSession", |real| {
        // SAFETY: see `initialize`.
        Some(unsafe { real.C_OpenSession?(slot, flags, application, notify, session) })
    })
}

unsafe extern "C" fn find_objects_init(
    session: CK_SESSION_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
) -> CK_RV {
    // SAFETY: see `initialize`.
    watched("C_FindObjectsInit", |real| {
        Some(unsafe { real.C_FindObjectsInit?(session, template, count) })
    })
}

/// The handle that is called with: `key`, or the other one that was seen last.
fn maybe_another(function: &str, seen: &[AtomicU64; 2], key: CK_OBJECT_HANDLE) -> CK_OBJECT_HANDLE {
    let last = seen[0].load(Ordering::Relaxed);
    if last != key {
        seen[1].store(last, Ordering::Relaxed);
        seen[0].store(key, Ordering::Relaxed);
    }
    match control::action(function) {
        Some(Action::Swap) => seen[1].load(Ordering::Relaxed),
        _ => key,
    }
}

unsafe extern "C" fn sign_init(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    key: CK_OBJECT_HANDLE,
) -> CK_RV {
    let key = maybe_another("C_SignInit", &HANDLES, key);
    // SAFETY: see `initialize`; a swapped handle is one that the module itself gave out.
    watched("C_SignInit", |real| {
        Some(unsafe { real.C_SignInit?(session, mechanism, key) })
    })
}

unsafe extern "C" fn sign(
    session: CK_SESSION_HANDLE,
    data: CK_BYTE_PTR,
    length: CK_ULONG,
    signature: CK_BYTE_PTR,
    signature_length: CK_ULONG_PTR,
) -> CK_RV {
    // A question for the length is not a signature.
    if signature.is_null() {
        let real = shim().and_then(|shim| shim.real.C_Sign);
        // SAFETY: see `initialize`.
        return real.map_or(CKR_FUNCTION_NOT_SUPPORTED, |real| unsafe {
            real(session, data, length, signature, signature_length)
        });
    }
    let answer = watched("C_Sign", |real| {
        // SAFETY: see `initialize`.
        Some(unsafe { real.C_Sign?(session, data, length, signature, signature_length) })
    });
    if answer == CKR_OK && matches!(control::action("C_Sign"), Some(Action::Corrupt)) {
        // SAFETY: the module has just written at least one byte there.
        unsafe { *signature ^= 1 };
    }
    answer
}

unsafe extern "C" fn generate_key_pair(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    public: CK_ATTRIBUTE_PTR,
    public_count: CK_ULONG,
    private: CK_ATTRIBUTE_PTR,
    private_count: CK_ULONG,
    public_key: CK_OBJECT_HANDLE_PTR,
    private_key: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    watched("C_GenerateKeyPair", |real| {
        let call = real.C_GenerateKeyPair?;
        // SAFETY: see `initialize`.
        Some(unsafe {
            call(
                session,
                mechanism,
                public,
                public_count,
                private,
                private_count,
                public_key,
                private_key,
            )
        })
    })
}

unsafe extern "C" fn destroy_object(session: CK_SESSION_HANDLE, object: CK_OBJECT_HANDLE) -> CK_RV {
    // SAFETY: see `initialize`.
    watched("C_DestroyObject", |real| {
        Some(unsafe { real.C_DestroyObject?(session, object) })
    })
}

unsafe extern "C" fn generate_key(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    key: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    watched("C_GenerateKey", |real| {
        // SAFETY: see `initialize`.
        Some(unsafe { real.C_GenerateKey?(session, mechanism, template, count, key) })
    })
}

unsafe extern "C" fn wrap_key(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    wrapping: CK_OBJECT_HANDLE,
    key: CK_OBJECT_HANDLE,
    wrapped: CK_BYTE_PTR,
    length: CK_ULONG_PTR,
) -> CK_RV {
    let wrapping = maybe_another("C_WrapKey", &WRAPPING, wrapping);
    watched("C_WrapKey", |real| {
        // SAFETY: see `sign_init`.
        Some(unsafe { real.C_WrapKey?(session, mechanism, wrapping, key, wrapped, length) })
    })
}

unsafe extern "C" fn unwrap_key(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    wrapping: CK_OBJECT_HANDLE,
    wrapped: CK_BYTE_PTR,
    length: CK_ULONG,
    template: CK_ATTRIBUTE_PTR,
    count: CK_ULONG,
    key: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    let wrapping = maybe_another("C_UnwrapKey", &WRAPPING, wrapping);
    // SAFETY: the caller's template has so many attributes.
    let readable = unsafe { is_readable(template, count) };
    if readable && matches!(control::action("C_UnwrapKey"), Some(Action::Strict)) {
        return CKR_TEMPLATE_INCONSISTENT;
    }
    watched("C_UnwrapKey", |real| {
        let call = real.C_UnwrapKey?;
        // SAFETY: see `sign_init`.
        Some(unsafe {
            call(
                session, mechanism, wrapping, wrapped, length, template, count, key,
            )
        })
    })
}

/// Whether a template says that the key's value can be read.
///
/// # Safety
/// `template` points to so many attributes.
unsafe fn is_readable(template: CK_ATTRIBUTE_PTR, count: CK_ULONG) -> bool {
    if template.is_null() {
        return false;
    }
    // SAFETY: by the caller's promise.
    let attributes = unsafe { std::slice::from_raw_parts(template, count as usize) };
    attributes.iter().any(|attribute| {
        attribute.type_ == CKA_SENSITIVE
            && attribute.ulValueLen == 1
            && !attribute.pValue.is_null()
            // SAFETY: the attribute has one byte.
            && unsafe { *attribute.pValue.cast::<CK_BBOOL>() } == CK_FALSE
    })
}

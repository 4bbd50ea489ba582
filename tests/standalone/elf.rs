//! What an ELF file's program headers say, read here so that no tool's wording has to be trusted.

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_GNU_STACK: u32 = 0x6474_e551;
const DT_NEEDED: u64 = 1;
const ET_DYN: u16 = 3;
const EXECUTABLE: u32 = 1;
const WRITABLE: u32 = 2;

/// What is of interest of a 64-bit little-endian ELF file.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) position_independent: bool,
    pub(crate) asks_for_a_loader: bool,
    pub(crate) needs_libraries: bool,
    pub(crate) writable_and_executable: bool,
    /// `None` if the header is missing, which the kernel takes for executable.
    pub(crate) stack_executable: Option<bool>,
}

/// Panics on what is not a whole ELF file.
pub(crate) fn facts(file: &[u8]) -> Facts {
    assert_eq!(
        file[..6],
        *b"\x7fELF\x02\x01",
        "not a 64-bit little-endian ELF file"
    );
    let mut facts = Facts {
        position_independent: half(file, 16) == ET_DYN,
        ..Facts::default()
    };
    let (table, size, count) = (
        offset(file, 32),
        usize::from(half(file, 54)),
        usize::from(half(file, 56)),
    );
    for at in (0..count).map(|index| table + index * size) {
        let flags = word(file, at + 4);
        match word(file, at) {
            PT_INTERP => facts.asks_for_a_loader = true,
            PT_GNU_STACK => facts.stack_executable = Some(flags & EXECUTABLE != 0),
            PT_LOAD => {
                facts.writable_and_executable |= flags & (WRITABLE | EXECUTABLE) == WRITABLE | EXECUTABLE
            }
            PT_DYNAMIC => {
                let (begin, length) = (offset(file, at + 8), offset(file, at + 32));
                facts.needs_libraries = file[begin..begin + length]
                    .chunks_exact(16)
                    .any(|entry| long(entry, 0) == DT_NEEDED);
            }
            _ => {}
        }
    }
    facts
}

fn bytes<const N: usize>(file: &[u8], at: usize) -> [u8; N] {
    file[at..at + N].try_into().expect("a slice of that length")
}

fn half(file: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes(file, at))
}

fn word(file: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes(file, at))
}

fn long(file: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes(file, at))
}

fn offset(file: &[u8], at: usize) -> usize {
    usize::try_from(long(file, at)).expect("an offset within memory")
}

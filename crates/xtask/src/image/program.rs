//! What an image from scratch demands of a program: it needs nothing beside itself.

use anyhow::{Result, bail};

use super::Architecture;

/// Offsets in the header of a 64-bit little-endian ELF file, and of one entry of its program header table.
const MACHINE: usize = 18;
const TABLE: usize = 32;
const ENTRY_SIZE: usize = 54;
const ENTRIES: usize = 56;
/// The entry that names a dynamic loader.
const PT_INTERP: u32 = 3;

/// Complains about a program that asks for a dynamic loader, or is for another machine.
pub(super) fn require_static(program: &[u8], architecture: Architecture) -> Result<()> {
    let u16_at = |at: usize| program.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes);
    let u32_at = |at: usize| program.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
    let is_elf = program.starts_with(b"\x7fELF\x02\x01");
    let header = (u16_at(MACHINE), u32_at(TABLE), u16_at(ENTRY_SIZE), u16_at(ENTRIES));
    let (Some(machine), Some(table), Some(size), Some(entries), true) =
        (header.0, header.1, header.2, header.3, is_elf)
    else {
        bail!("not a 64-bit program");
    };
    let wanted = match architecture {
        Architecture::Amd64 => 62,
        Architecture::Arm64 => 183,
    };
    if machine != wanted {
        bail!("built for ELF machine {machine}, not for {} ({wanted})", architecture.name());
    }
    let mut entries = (0..usize::from(entries)).map(|entry| table as usize + entry * usize::from(size));
    if entries.any(|entry| u32_at(entry) == Some(PT_INTERP)) {
        bail!("linked dynamically: an image from scratch has no loader");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header with one entry behind it.
    fn program(machine: u16, entry: u32) -> Vec<u8> {
        let mut program = vec![0; 64 + 56];
        program[..6].copy_from_slice(b"\x7fELF\x02\x01");
        program[MACHINE..MACHINE + 2].copy_from_slice(&machine.to_le_bytes());
        program[TABLE..TABLE + 4].copy_from_slice(&64u32.to_le_bytes());
        program[ENTRY_SIZE..ENTRY_SIZE + 2].copy_from_slice(&56u16.to_le_bytes());
        program[ENTRIES..ENTRIES + 2].copy_from_slice(&1u16.to_le_bytes());
        program[64..68].copy_from_slice(&entry.to_le_bytes());
        program
    }

    #[test]
    fn a_program_must_be_static_and_for_the_machine() {
        let complaint =
            |program: &[u8]| require_static(program, Architecture::Amd64).unwrap_err().to_string();
        assert!(require_static(&program(62, 1), Architecture::Amd64).is_ok());
        assert!(complaint(&program(62, PT_INTERP)).contains("no loader"));
        assert!(complaint(&program(183, 1)).contains("machine 183"));
        assert!(complaint(b"#!/bin/sh").contains("not a 64-bit program"));
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(require_static(&own, Architecture::of_this_machine()).is_err(), "this test is dynamic");
    }
}

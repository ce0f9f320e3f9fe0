//! What was durable and cannot be read: it is found, set aside, and made good from what is left.

use super::*;

/// A disk whose index has runs of the numbers to 100, to 200 and to 300.
fn disk_with_runs() -> SimulatedDisk {
    let disk = SimulatedDisk::new(1);
    let mut seen = open(&disk);
    seen.take(0..300, 0);
    seen.close().expect("it closes");
    assert_eq!(runs(&disk), ["00000000.run", "00000001.run", "00000002.run"]);
    disk
}

fn runs(disk: &SimulatedDisk) -> Vec<String> {
    files(disk).into_iter().filter(|file| file.ends_with(".run")).collect()
}

fn flip(disk: &SimulatedDisk, file: &str, place: usize) {
    let mut bytes = disk.contents(file).expect("the file is there");
    bytes[place] ^= 1 << (place % 8);
    disk.put(file, bytes);
}

#[test]
fn a_filter_that_is_damaged_or_missing_is_made_anew() {
    let disk = disk_with_runs();
    let whole = disk.contents("00000001.filter").expect("it is there");
    for place in 0..whole.len() {
        flip(&disk, "00000001.filter", place);
        let mut seen = open(&disk);
        assert_eq!((seen.known(0..400), seen.checkpoint()), (300, &next(300)), "at {place}");
        assert_eq!(disk.contents("00000001.filter").as_ref(), Some(&whole), "at {place}");
        assert!(disk.contents("00000001.filter.damaged").is_some());
    }
    for bytes in 0..whole.len() {
        disk.put("00000001.filter", whole[..bytes].to_vec());
        assert_eq!(open(&disk).known(0..400), 300, "cut at {bytes}");
    }
    disk.remove("00000001.filter").expect("removed");
    assert_eq!(open(&disk).known(0..400), 300);
    assert_eq!(disk.contents("00000001.filter"), Some(whole));
}

#[test]
fn a_run_whose_block_is_damaged_is_told_set_aside_and_read_again() {
    let disk = disk_with_runs();
    let whole = disk.contents("00000001.run").expect("it is there");
    for place in (4096..whole.len()).step_by(61) {
        flip(&disk, "00000001.run", place);
        let mut seen = open(&disk);
        let told = seen.probe(&candidates(100..200, 0)).expect_err("it is damaged");
        assert!(matches!(&told, SeenError::Damaged { file, .. } if file == "00000001.run"), "{told}");
        assert_eq!(seen.probe(&candidates(0..1, 0)), Err(told), "it answers no more");
        drop(seen);
        let mut seen = open(&disk);
        assert_eq!((seen.known(0..100), seen.known(100..200), seen.known(200..300)), (100, 0, 100));
        assert_eq!((seen.checkpoint(), seen.standing().keys), (&next(100), 200), "its keys came from here on");
        assert!(disk.contents("00000001.run.damaged").is_some());
        seen.take(100..300, 0);
        assert_eq!(seen.known(0..400), 300);
        drop(seen);
        // As it was.
        for file in files(&disk) {
            disk.remove(&file).expect("removed");
        }
        let before = disk_with_runs();
        files(&before).into_iter().for_each(|file| disk.put(&file, before.contents(&file).expect("it is there")));
    }
}

#[test]
fn a_run_that_is_missing_short_or_without_its_head_is_read_again() {
    for harm in 0..3 {
        let disk = disk_with_runs();
        let whole = disk.contents("00000000.run").expect("it is there");
        match harm {
            0 => disk.remove("00000000.run").expect("removed"),
            1 => disk.put("00000000.run", whole[..whole.len() - 1].to_vec()),
            _ => flip(&disk, "00000000.run", 9),
        }
        let mut seen = open(&disk);
        assert_eq!((seen.known(0..300), seen.checkpoint()), (200, &Offsets::new()), "harm {harm}");
        seen.take(0..300, 0);
        seen.close().expect("it closes");
        assert_eq!(open(&disk).known(0..400), 300, "harm {harm}");
    }
}

#[test]
fn damage_that_a_merge_meets_is_told_to_who_asks_next() {
    let disk = disk_with_runs();
    flip(&disk, "00000001.run", 4100);
    let mut seen = open(&disk);
    // Until there are as many runs of their level as are merged.
    for start in (300..800).step_by(100) {
        seen.add(&candidates(start..start + 100, 0), &next(start + 100));
        seen.settle();
    }
    assert!(matches!(seen.probe(&[]), Err(SeenError::Damaged { .. })));
    drop(seen);
    let mut seen = open(&disk);
    assert_eq!((seen.known(0..800), seen.checkpoint()), (700, &next(100)));
}

#[test]
fn without_its_manifest_or_with_another_secret_an_index_begins_anew_and_keeps_what_was_there() {
    for harm in 0..3 {
        let disk = disk_with_runs();
        let run = disk.contents("00000001.run");
        let secret = if harm == 2 { [8; 32] } else { [7; 32] };
        match harm {
            0 => disk.remove(manifest::NAME).expect("removed"),
            1 => flip(&disk, manifest::NAME, 40),
            _ => {}
        }
        let again = || Seen::open(Arc::new(disk.clone()), settings(), &Fingerprints::new(secret)).expect("the index opens");
        let mut seen = again();
        assert_eq!((seen.known(0..300), seen.checkpoint()), (0, &Offsets::new()), "harm {harm}");
        seen.take(0..300, 0);
        seen.close().expect("it closes");
        assert_eq!((again().known(0..300), disk.contents("00000001.run.damaged")), (300, run), "harm {harm}");
    }
}

#[test]
fn an_index_of_a_newer_release_is_left_alone() {
    let disk = disk_with_runs();
    let text = String::from_utf8(disk.contents(manifest::NAME).expect("it is there")).expect("it is text");
    disk.put(manifest::NAME, text.replacen("DSM 1 ", "DSM 2 ", 1).into_bytes());
    let before = files(&disk);
    let refused = Seen::open(Arc::new(disk.clone()), settings(), &Fingerprints::new([7; 32])).err();
    assert_eq!((refused, files(&disk)), (Some(SeenError::Newer { version: 2, known: 1 }), before));
}

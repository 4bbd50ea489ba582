use super::*;

/// The thread's side and the channels to it, without a thread.
fn thread(cut: Cut) -> (Thread, mpsc::Receiver<Message>, std_mpsc::Sender<Vec<u8>>) {
    let (send, messages) = mpsc::channel(100);
    let (used, free) = std_mpsc::channel();
    let (_, answers) = std_mpsc::channel();
    let state = Arc::default();
    let thread = Thread {
        cut,
        send,
        free,
        answers,
        state,
    };
    (thread, messages, used)
}

/// The blocks of a source of bytes, and its length.
fn events(mut bytes: &[u8], cut: Cut) -> (Vec<Vec<u8>>, Option<u64>) {
    let (thread, mut messages, _used) = thread(cut);
    let end = match thread.read(0, &mut bytes, 0).unwrap() {
        Told::Read(bytes) => Some(bytes),
        Told::All | Told::Nobody => None,
    };
    drop(thread);
    let mut blocks = Vec::new();
    while let Ok(Message::Event(Event::Block(0, block))) = messages.try_recv() {
        blocks.push(block);
    }
    (blocks, end)
}

#[test]
fn blocks_together_are_the_source() {
    let source: Vec<u8> = (0..=250).cycle().take(BLOCK * 2 + 77).collect();
    let (blocks, end) = events(&source, Cut::Blocks);
    assert_eq!(end, Some(source.len() as u64));
    assert_eq!(
        blocks.iter().map(Vec::len).collect::<Vec<_>>(),
        [BLOCK, BLOCK, 77]
    );
    assert_eq!(blocks.concat(), source);
    assert_eq!(events(b"", Cut::Blocks), (vec![], Some(0)));
}

#[test]
fn a_whole_source_is_one_block_even_if_it_is_empty() {
    let whole = Cut::Whole { limit: 5 };
    assert_eq!(events(b"12345", whole), (vec![b"12345".to_vec()], Some(5)));
    assert_eq!(events(b"", whole), (vec![vec![]], Some(0)));
}

#[test]
fn a_source_beyond_the_limit_is_no_block_and_its_length_is_told() {
    assert_eq!(events(b"1234567", Cut::Whole { limit: 5 }), (vec![], Some(7)));
}

#[test]
fn reading_ends_when_nobody_listens() {
    let (thread, messages, _used) = thread(Cut::Blocks);
    drop(messages);
    assert_eq!(thread.read(0, &mut b"x".as_slice(), 0).unwrap(), Told::Nobody);
}

#[test]
fn a_used_block_is_read_into_again_and_shows_nothing_of_its_past() {
    let (thread, mut messages, used) = thread(Cut::Blocks);
    used.send(vec![b'o'; 1000]).unwrap();
    thread.read(0, &mut b"new".as_slice(), 0).unwrap();
    assert!(matches!(messages.try_recv(), Ok(Message::Event(Event::Block(0, block))) if block == b"new"));
}

/// A file of three blocks and a bit, that is deleted with this.
struct Sample(PathBuf, Vec<u8>);

impl Sample {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("barnabas-reader-{name}-{}", std::process::id()));
        let bytes: Vec<u8> = (0..=250).cycle().take(BLOCK * 3 + 77).collect();
        std::fs::write(&path, &bytes).unwrap();
        Self(path, bytes)
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(future)
}

#[test]
fn files_one_after_the_other_are_read_whole_whoever_reads_them() {
    let sample = Sample::new("whole");
    block_on(async {
        let sources = vec![Source::File(sample.0.clone()), Source::File(sample.0.clone())];
        let mut reader = Reader::start(sources, Cut::Blocks).unwrap();
        let mut read = [Vec::new(), Vec::new()];
        let mut ends = Vec::new();
        while let Some(event) = reader.next().await {
            match event {
                Event::Block(number, block) => {
                    read[number].extend_from_slice(&block);
                    reader.recycle(block);
                }
                Event::End(number, bytes) => ends.push((number, bytes)),
                Event::Failed(number, error) => panic!("{number}: {error}"),
            }
        }
        let bytes = sample.1.len() as u64;
        assert_eq!(ends, [(0, bytes), (1, bytes)]);
        assert!(read.iter().all(|read| *read == sample.1));
    });
}

#[test]
fn the_thread_goes_on_with_a_file_where_a_read_would_have_to_wait() {
    let sample = Sample::new("rest");
    let (mut thread, mut messages, _used) = thread(Cut::Blocks);
    let (back, answers) = std_mpsc::channel();
    thread.answers = answers;
    let mut file = File::open(&sample.0).unwrap();
    file.read_exact(&mut [0; 1000]).unwrap();
    back.send(Back::Rest(file, 1000)).unwrap();
    thread.run(&[Source::File(sample.0.clone())]);
    assert!(matches!(messages.try_recv(), Ok(Message::Handed(0, _))));
    let mut rest = Vec::new();
    let end = loop {
        match messages.try_recv() {
            Ok(Message::Event(Event::Block(0, block))) => rest.extend_from_slice(&block),
            Ok(Message::Event(Event::End(0, bytes))) => break bytes,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(end, sample.1.len() as u64);
    assert!(rest == sample.1[1000..]);
}

#[test]
fn a_reader_of_a_file_that_is_stopped_gives_no_more() {
    let sample = Sample::new("stopped");
    block_on(async {
        let mut reader = Reader::start(vec![Source::File(sample.0.clone())], Cut::Blocks).unwrap();
        assert!(matches!(reader.next().await, Some(Event::Block(0, _))));
        let mut more = 0;
        while reader.rest().await.is_some() {
            more += 1;
        }
        assert!(more <= AHEAD + 1);
    });
}

#[test]
fn a_missing_file_is_told_and_the_next_source_is_read() {
    block_on(async {
        let sources = vec![
            Source::File("/nonexistent/file".into()),
            Source::File("/dev/null".into()),
        ];
        let mut reader = Reader::start(sources, Cut::Blocks).unwrap();
        assert!(matches!(reader.next().await, Some(Event::Failed(0, _))));
        assert!(matches!(reader.next().await, Some(Event::End(1, 0))));
        assert!(reader.next().await.is_none());
    });
}

#[test]
fn a_reader_that_is_stopped_gives_what_was_read_and_no_more() {
    block_on(async {
        let mut reader = Reader::start(vec![Source::File("/dev/zero".into())], Cut::Blocks).unwrap();
        assert!(matches!(reader.next().await, Some(Event::Block(0, _))));
        let mut more = 0;
        while reader.rest().await.is_some() {
            more += 1;
        }
        // And one in the thread's hand.
        assert!(more <= AHEAD + 1);
    });
}

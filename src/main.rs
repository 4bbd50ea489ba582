//! Parse, run, print the error chain once, exit with the code.

fn main() -> std::process::ExitCode {
    barnabas::cli::main()
}

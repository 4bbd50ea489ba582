//! Each rule of `apply` as a fact, with what happens without those that can be switched off.

mod members;
mod operators;
mod properties;
mod script;
mod work;

/// The files that the pages load.
pub(crate) mod assets;
/// Everything that a person sees.
pub(crate) mod pages;

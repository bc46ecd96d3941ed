//! The binary's allocator: it counts what each thread allocates, which is how Rhai's memory limit measures.

#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

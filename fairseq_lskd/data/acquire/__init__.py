"""Getting corpora: what a corpus file asks for, where it lies or is fetched from, and its text out of archives."""

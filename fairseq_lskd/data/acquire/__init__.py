"""Get corpora: resolve what a corpus file asks for, locate or download it, and extract its texts."""

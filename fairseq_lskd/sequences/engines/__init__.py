"""What decodes: fairseq itself, and CTranslate2. Imported only where they are used."""

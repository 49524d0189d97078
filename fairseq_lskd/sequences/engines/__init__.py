"""The engines that translate: fairseq and CTranslate2. Each is imported only when it is used."""

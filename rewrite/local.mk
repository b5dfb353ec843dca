# rewrite: what mail addresses and headers mean (pure)

"""Public catalogs: refresh, rebuild, automatic adoption, first start."""

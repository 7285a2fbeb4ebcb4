"""The operations desk: what people who keep payments running see and do. A folder for each part."""

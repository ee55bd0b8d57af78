CREATE TABLE IF NOT EXISTS notes (text text);

CREATE TABLE IF NOT EXISTS notes (text text);
CREATE TABLE IF NOT EXISTS rows (number integer);
CREATE TABLE IF NOT EXISTS handled (id bigint GENERATED ALWAYS AS IDENTITY, number integer);

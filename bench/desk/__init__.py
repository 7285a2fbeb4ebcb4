"""The desk with a million payments: a data set made of real ones, and how long its pages take."""

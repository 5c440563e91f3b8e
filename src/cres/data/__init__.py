"""Files of electrons: columns, facts and volts by row; folders that read strangers' files and prepare data sets."""

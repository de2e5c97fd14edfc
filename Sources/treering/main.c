// The kernel passes these arguments to main(3). Swift's CommandLine reads them from /proc instead, and has none if
// /proc is not mounted.
int treering_main(int count, char **arguments);

int main(int count, char **arguments) { return treering_main(count, arguments); }
